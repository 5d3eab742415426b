//! Extractors whose refusals are problems: JSON bodies, queries, ids, lists.

use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts};
use castback_catalogue::{Page, Paging};
use http::Uri;
use http::request::Parts;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};

use crate::problem::{Problem, Result};

/// A JSON body. Members that are not known are ignored.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub(crate) struct Json<T>(pub(crate) T);

/// Query parameters.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(crate) struct Query<T>(pub(crate) T);

/// Parameters of the path.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(crate) struct Path<T>(pub(crate) T);

/// Reads an id of the path; what is no id names nothing.
pub(crate) fn id<T: FromStr>(text: &str, what: &str) -> Result<T> {
    text.parse().map_err(|_| Problem::not_found(what))
}

/// Reads a secret, for `deserialize_with`.
pub(crate) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// Reads a secret that may be missing; use it with `default`.
pub(crate) fn maybe_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

/// Which page of a list, and what narrows the list. A parameter that the list does not have is refused: its
/// caller would think that it narrows the list.
#[derive(Debug)]
pub(crate) struct List<F = Unfiltered>(pub(crate) Paging, pub(crate) F);

impl<S: Send + Sync, F: DeserializeOwned + IntoParams> FromRequestParts<S> for List<F> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        known(&parts.uri, ListParameters::into_params(|| None).into_iter().chain(F::into_params(|| None)))?;
        let axum::extract::Query(page) = axum::extract::Query::<ListParameters>::try_from_uri(&parts.uri)?;
        let axum::extract::Query(filter) = axum::extract::Query::<F>::try_from_uri(&parts.uri)?;
        Ok(Self(page.paging()?, filter))
    }
}

/// What narrows a list that comes as a whole; like [`List`], it refuses what the list does not have.
#[derive(Debug)]
pub(crate) struct Whole<F = Unfiltered>(pub(crate) F);

impl<S: Send + Sync, F: DeserializeOwned + IntoParams> FromRequestParts<S> for Whole<F> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        known(&parts.uri, F::into_params(|| None))?;
        let axum::extract::Query(filter) = axum::extract::Query::<F>::try_from_uri(&parts.uri)?;
        Ok(Self(filter))
    }
}

/// Refuses a parameter that the list does not have.
fn known(uri: &Uri, own: impl IntoIterator<Item = Parameter>) -> Result<()> {
    let own = own.into_iter();
    let names: Vec<String> = std::iter::once("account".to_owned()).chain(own.map(|own| own.name)).collect();
    let mut asked = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    match asked.find(|(name, _)| !names.iter().any(|known| known == name)) {
        Some((name, _)) => Err(Problem::field(name, format!("expected one of {}", names.join(", ")))),
        None => Ok(()),
    }
}

/// What narrows a list that nothing narrows.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Unfiltered {}

impl IntoParams for Unfiltered {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        Vec::new()
    }
}

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParameters {
    /// Items at most (1 to 200).
    limit: Option<u16>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// `-created_at`, newest first: the only order.
    sort: Option<String>,
}

impl ListParameters {
    /// As the catalogue pages.
    fn paging(self) -> Result<Paging> {
        let Self { limit, cursor, sort } = self;
        if sort.is_some_and(|sort| sort != "-created_at") {
            return Err(Problem::field("sort", "expected -created_at"));
        }
        match limit {
            Some(0) => Err(Problem::field("limit", "expected 1 to 200")),
            Some(limit) => Ok(Paging { limit, cursor }),
            None => Ok(Paging { cursor, ..Paging::default() }),
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Listed<T> {
    /// The items, newest first.
    pub(crate) items: Vec<T>,
    /// Where the next page begins; null after the last.
    pub(crate) next_cursor: Option<String>,
}

impl<T> Listed<T> {
    /// A page in the API's shape.
    pub(crate) fn of<S>(page: Page<S>, shape: impl FnMut(S) -> T) -> Self {
        Self { items: page.items.into_iter().map(shape).collect(), next_cursor: page.next_cursor }
    }

    /// A list that is never long.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }
}

/// Collects what does not fit before a body is refused as a whole.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<crate::problem::FieldError>);

impl Checks {
    /// Notes a field that does not fit.
    pub(crate) fn refuse(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.0.push(crate::problem::FieldError { field: field.into(), detail: detail.into() });
    }

    /// Notes the field unless it fits.
    pub(crate) fn check(&mut self, fits: bool, field: &str, detail: &str) {
        if !fits {
            self.refuse(field, detail);
        }
    }

    /// The length of a text, in characters.
    pub(crate) fn length(&mut self, text: &str, (least, most): (usize, usize), field: &str) {
        self.check(
            (least..=most).contains(&text.chars().count()),
            field,
            &format!("expected {least} to {most} characters"),
        );
    }

    /// A problem that names every field, if there is one.
    pub(crate) fn done(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::fields(self.0)) }
    }
}
