-- Something to be told; no row when it is written down already, or its recipient left.
-- returns: optional
insert into notifications.notice (recipient_id, order_id, kind, title, body)
select :recipient_id::uuid, :order_id::uuid, :kind::text, :title::text, :body::text
where not exists (select from notifications.gone g where g.account_id = :recipient_id)
on conflict (order_id, recipient_id, kind) do nothing
returning id, send_until
