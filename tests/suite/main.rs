//! Black-box tests of the whole product: the real binary, over HTTP, against the contract and an independent oracle.

#[cfg(test)]
mod oracle;
