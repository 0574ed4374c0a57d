//! May they: roles are data ([`role`]), a route's demand is a [`policy::Rule`], and the answer is a [`permit::Permit`].

pub mod permit;
pub mod policy;
pub mod role;
