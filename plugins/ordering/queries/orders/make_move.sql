-- Move an order along one edge of its graph. Of two concurrent moves the second sees the first one's state, and no row.
-- returns: optional
update ordering.customer_order o
set state = :target::ordering.order_state, changed_at = now()
where o.id = :id
  and (o.state, :target::ordering.order_state) in (
      ('placed', 'accepted'), ('placed', 'rejected'), ('placed', 'cancelled'),
      ('accepted', 'preparing'), ('preparing', 'ready'), ('ready', 'completed')
  )
returning o.id, o.customer_id, o.owner_id, o.restaurant_id, o.restaurant_name, o.currency, o.total_cents
