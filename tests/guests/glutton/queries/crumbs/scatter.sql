-- Put ten crumbs there, each with the same word.
-- returns: count
insert into glutton.crumb (id, word)
values (0, :word), (1, :word), (2, :word), (3, :word), (4, :word), (5, :word), (6, :word), (7, :word), (8, :word), (9, :word)
on conflict do nothing
