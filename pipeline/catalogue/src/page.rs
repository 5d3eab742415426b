//! Lists, a page at a time: newest first, by a cursor that stays right while things are added.

use castback_schemas::Micros;

use crate::error::{CatalogueError, Result};
use crate::stored::{base64url, bytes};

/// Items of a page at most.
pub const MAX_LIMIT: u16 = 200;

/// Which page is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging {
    /// Items at most; more than [`MAX_LIMIT`] is cut to it.
    pub limit: u16,
    /// The last page's `next_cursor`; none for the first page.
    pub cursor: Option<String>,
}

impl Default for Paging {
    fn default() -> Self {
        Self { limit: 50, cursor: None }
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// Where the next page begins; none after the last.
    pub next_cursor: Option<String>,
}

/// Where a page begins: behind the item made at that time with that id.
pub(crate) struct Start {
    pub(crate) created_at: i64,
    pub(crate) id: String,
    /// One row more than asked tells whether there is another page.
    pub(crate) rows: i64,
}

impl Paging {
    pub(crate) fn start(&self) -> Result<Start> {
        let rows = i64::from(self.limit.clamp(1, MAX_LIMIT)) + 1;
        let Some(cursor) = &self.cursor else {
            // Behind nothing: every id is less than this.
            return Ok(Start { created_at: i64::MAX, id: "~".to_owned(), rows });
        };
        let text =
            bytes(cursor).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(CatalogueError::InvalidCursor)?;
        let (created_at, id) = text.split_once(' ').ok_or(CatalogueError::InvalidCursor)?;
        let created_at = created_at.parse().map_err(|_| CatalogueError::InvalidCursor)?;
        Ok(Start { created_at, id: id.to_owned(), rows })
    }

    /// The page of the rows that a query with [`Paging::start`] brought.
    pub(crate) fn page<T>(&self, mut items: Vec<T>, place: impl Fn(&T) -> (Micros, String)) -> Page<T> {
        let limit = usize::from(self.limit.clamp(1, MAX_LIMIT));
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| more).map(|last| {
            let (created_at, id) = place(last);
            base64url(format!("{} {id}", created_at.0))
        });
        Page { items, next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_behind_the_last_item() {
        let paging = Paging { limit: 2, cursor: None };
        let items = vec![(Micros(3), "c"), (Micros(2), "b"), (Micros(1), "a")];
        let page = paging.page(items, |item| (item.0, item.1.to_owned()));
        assert_eq!(page.items.len(), 2);
        let next = Paging { limit: 2, cursor: page.next_cursor };
        let start = next.start().unwrap();
        assert_eq!((start.created_at, start.id.as_str(), start.rows), (2, "b", 3));
        assert_eq!(next.page(vec![(Micros(1), "a")], |item| (item.0, item.1.to_owned())).next_cursor, None);
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for cursor in ["", "%", "bm90aGluZw"] {
            let paging = Paging { limit: 2, cursor: Some(cursor.to_owned()) };
            assert!(matches!(paging.start(), Err(CatalogueError::InvalidCursor)), "{cursor}");
        }
    }
}
