-- Move an order along one edge of its graph. Of two concurrent moves the second sees the first one's state, and no row.
-- returns: count
update ordering.customer_order
set state = :target::ordering.order_state, changed_at = now()
where id = :id
  and (state, :target::ordering.order_state) in (
      ('placed', 'accepted'), ('placed', 'rejected'), ('placed', 'cancelled'),
      ('accepted', 'preparing'), ('preparing', 'ready'), ('ready', 'completed')
  )
