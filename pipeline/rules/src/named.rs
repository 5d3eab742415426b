//! Closed sets of names: an enum whose variants have one text each, the same on topics, in the ledger and over the API.

/// A text that is none of the names of a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a {set}")]
pub struct UnknownName {
    /// What the names stand for.
    pub set: &'static str,
}

/// Declares such an enum: `Name "what it is" { Variant "text", … }`, in the order that `Ord` keeps.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident $set:literal { $($(#[$variant_doc:meta])* $variant:ident $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every one, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::named::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|one| one.as_str() == name).ok_or($crate::named::UnknownName { set: $set })
            }
        }
    };
}

pub(crate) use named;
