//! Problems in one word, and which constraint means which problem.
//!
//! A constraint is named for the error it means, and its sentence stands in one table per kind of thing:
//!
//! ```
//! use dinehub_sdk::{Explain, Rule, conflict, database::Error};
//! const RULES: &[Rule] = &[Rule::conflict("review_is_given", "You reviewed this restaurant before.")];
//! let refused: Result<(), Error> = Err(Error::Conflict("review_is_given".into()));
//! assert_eq!(refused.explain(RULES), Err(conflict("review_is_given", "You reviewed this restaurant before.")));
//! ```

use alloc::vec;

use crate::{
    database::Error,
    types::{Problem, Rejection, Violation},
};

/// 404: it does not exist, or the caller may not know that it does.
#[must_use]
pub fn not_found() -> Problem {
    Problem::NotFound
}

/// 403, with one sentence for the caller.
#[must_use]
pub fn denied(detail: &str) -> Problem {
    Problem::Denied(detail.into())
}

/// 409, with a stable word for programs and one sentence for the caller.
#[must_use]
pub fn conflict(code: &str, detail: &str) -> Problem {
    Problem::Conflict(Rejection { code: code.into(), detail: detail.into() })
}

/// 422 at one place: a JSON Pointer into the body, `?name` or `{name}`; `detail` says what is wanted there.
#[must_use]
pub fn invalid(pointer: &str, detail: &str) -> Problem {
    Problem::Invalid(vec![Violation { pointer: pointer.into(), detail: detail.into() }])
}

/// What a broken constraint means to the caller.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The constraint, the column of a not-null rule, or an SQLSTATE of class 22.
    broken: &'static str,
    answer: Answer,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Conflict { code: &'static str, detail: &'static str },
    Invalid { pointer: &'static str, detail: &'static str },
}

impl Rule {
    /// A 409 whose code is the constraint's name.
    #[must_use]
    pub const fn conflict(constraint: &'static str, detail: &'static str) -> Self {
        Self { broken: constraint, answer: Answer::Conflict { code: constraint, detail } }
    }

    /// A 422 at `pointer`.
    #[must_use]
    pub const fn invalid(broken: &'static str, pointer: &'static str, detail: &'static str) -> Self {
        Self { broken, answer: Answer::Invalid { pointer, detail } }
    }

    /// The same rule under another code, where the constraint is broken from its other side.
    #[must_use]
    pub const fn coded(self, code: &'static str, detail: &'static str) -> Self {
        Self { broken: self.broken, answer: Answer::Conflict { code, detail } }
    }

    fn problem(&self) -> Problem {
        match self.answer {
            Answer::Conflict { code, detail } => conflict(code, detail),
            Answer::Invalid { pointer, detail } => invalid(pointer, detail),
        }
    }
}

/// Turns a failed statement into a problem, by the first rule that names what was broken.
pub trait Explain<T> {
    /// # Errors
    /// The rule's problem; without a rule, that of [`Problem`]'s `From<Error>`.
    fn explain(self, rules: &[Rule]) -> Result<T, Problem>;
}

impl<T> Explain<T> for Result<T, Error> {
    fn explain(self, rules: &[Rule]) -> Result<T, Problem> {
        self.map_err(|error| {
            let rule = match &error {
                Error::Conflict(broken) | Error::Invalid(broken) => rules.iter().find(|rule| rule.broken == broken),
                _ => None,
            };
            rule.map_or_else(|| error.into(), Rule::problem)
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::{Error, Explain, Problem, Rule, conflict, invalid};

    const SECTION: Rule = Rule::invalid("item_has_a_section", "/section_id", "must name a section");
    const RULES: &[Rule] = &[Rule::conflict("name_is_taken", "That name is taken."), SECTION];

    fn explained(error: Error) -> Problem {
        Err::<(), _>(error).explain(RULES).expect_err("it failed")
    }

    #[test]
    fn an_error_without_a_rule_keeps_its_meaning() {
        assert_eq!(explained(Error::Denied), Problem::Denied("You may not do this.".to_string()));
        assert_eq!(explained(Error::Missing), Problem::NotFound);
        assert!(matches!(explained(Error::Conflict("other".into())), Problem::Conflict(no) if no.code == "other"));
        for error in [Error::Timeout, Error::TooManyRows, Error::Aborted, Error::Unavailable] {
            assert!(matches!(explained(error), Problem::Unavailable(_)));
        }
    }

    #[test]
    fn a_rule_chooses_the_code_and_the_sentence() {
        let taken = conflict("name_is_taken", "That name is taken.");
        assert_eq!(explained(Error::Conflict("name_is_taken".into())), taken);
        assert_eq!(
            explained(Error::Invalid("item_has_a_section".into())),
            invalid("/section_id", "must name a section")
        );
    }

    #[test]
    fn one_constraint_can_mean_two_things() {
        let rules = &[SECTION.coded("section_is_not_empty", "Remove its items first.")];
        let refused: Result<(), Error> = Err(Error::Invalid("item_has_a_section".into()));
        assert_eq!(refused.explain(rules), Err(conflict("section_is_not_empty", "Remove its items first.")));
    }
}
