-- Something to be told; no row when it is written down already.
-- returns: optional
insert into notifications.notice (recipient_id, order_id, kind, title, body)
values (:recipient_id, :order_id, :kind, :title, :body)
on conflict (order_id, recipient_id, kind) do nothing
returning id, send_until
