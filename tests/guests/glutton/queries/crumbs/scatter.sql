-- Put ten crumbs there.
-- returns: count
insert into glutton.crumb (id) values (0), (1), (2), (3), (4), (5), (6), (7), (8), (9) on conflict do nothing
