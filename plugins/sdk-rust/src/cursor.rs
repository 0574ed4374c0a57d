//! A place in a list that is ordered by a key and then by an id (keyset paging).
//!
//! The host seals a cursor for the client and opens it again, so what [`unpack`] gets is what [`pack`] made; only an
//! older version of the plugin can have made another form.

use alloc::{format, string::String, vec::Vec};

use crate::{
    problem::invalid,
    types::{Cursor, Problem, Uuid},
};

/// The place after the row with this key and id. The key may hold anything.
#[must_use]
pub fn pack(key: &str, id: &str) -> Cursor {
    format!("{key}|{id}")
}

/// Key and id of the row to go on after.
///
/// # Errors
/// `invalid` at `?cursor` for a cursor of another list.
pub fn unpack(cursor: &str) -> Result<(String, Uuid), Problem> {
    let (key, id) = cursor.rsplit_once('|').ok_or_else(|| invalid("?cursor", "must come from this list"))?;
    Ok((key.into(), id.into()))
}

/// Cuts a page that was asked for with one row more than `rows_max`: the rest of the list starts after its last row.
pub fn cut<T>(rows: &mut Vec<T>, rows_max: i32, place: impl Fn(&T) -> Cursor) -> Option<Cursor> {
    let rows_max = usize::try_from(rows_max).unwrap_or(0);
    if rows.len() <= rows_max {
        return None;
    }
    rows.truncate(rows_max);
    rows.last().map(place)
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec, vec::Vec};

    use super::{cut, pack, unpack};

    #[test]
    fn a_foreign_cursor_is_refused() {
        assert!(unpack("no separator").is_err());
    }

    #[test]
    fn a_key_may_hold_the_separator() {
        let place = pack("Fish | Chips", "a6e1");
        assert_eq!(unpack(&place), Ok(("Fish | Chips".to_string(), "a6e1".to_string())));
    }

    #[test]
    fn a_last_page_has_no_place_to_go_on() {
        let mut rows = vec![1, 2];
        assert_eq!(cut(&mut rows, 2, ToString::to_string), None);
        assert_eq!(cut(&mut Vec::<u8>::new(), 0, ToString::to_string), None);
    }

    #[test]
    fn a_full_page_goes_on_after_its_last_row() {
        let mut rows = vec![1, 2, 3];
        assert_eq!(cut(&mut rows, 2, ToString::to_string), Some("2".to_string()));
        assert_eq!(rows, [1, 2]);
    }
}
