-- Every crumb beside every other, eight times over.
-- returns: one
select count(*) as "pairs!"
from glutton.crumb a, glutton.crumb b, glutton.crumb c, glutton.crumb d,
    glutton.crumb e, glutton.crumb f, glutton.crumb g, glutton.crumb h
