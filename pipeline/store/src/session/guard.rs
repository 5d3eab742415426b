//! Which texts are planned at all: one statement that only reads, of bounded size and depth.
//!
//! Planning recurses over the statement, so what is deep or long is refused before it. The caps
//! are far above what people write and far below what a planner's stack holds.

use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::Statement as Sql;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::SqlError;

/// Bytes of SQL text; longer ones are refused.
pub const MAX_TEXT: usize = 64 * 1024;
/// Tokens of a statement.
const MAX_TOKENS: usize = 12_000;
/// Operators of a statement (arithmetic, comparison, AND, OR, set operations): each may be a
/// level of the plan.
const MAX_OPERATORS: usize = 500;
/// Open parentheses, brackets and CASEs at any one point.
const MAX_DEPTH: usize = 48;
/// Joins, commas aside.
const MAX_JOINS: usize = 64;

/// The one statement of a text, if it may be planned.
///
/// # Errors
/// [`SqlError::TooLong`], [`SqlError::TooComplex`], [`SqlError::Invalid`], [`SqlError::Refused`].
pub(super) fn statement(sql: &str) -> Result<Statement, SqlError> {
    if sql.len() > MAX_TEXT {
        return Err(SqlError::TooLong);
    }
    measure(sql)?;
    let mut statements = DFParser::parse_sql(sql).map_err(|error| SqlError::invalid(&error))?;
    let statement = statements.pop_front().ok_or(SqlError::Refused("there is no statement"))?;
    if !statements.is_empty() {
        return Err(SqlError::Refused("one statement at a time"));
    }
    only_reads(&statement)?;
    Ok(statement)
}

fn only_reads(statement: &Statement) -> Result<(), SqlError> {
    match statement {
        Statement::Explain(explain) if explain.options.analyze => {
            Err(SqlError::Refused("EXPLAIN ANALYZE is not allowed"))
        }
        Statement::Explain(explain) => match explain.statement.as_ref() {
            Statement::Statement(sql) if matches!(sql.as_ref(), Sql::Query(_)) => Ok(()),
            _ => Err(SqlError::Refused("only queries can be explained")),
        },
        Statement::Statement(sql) => match sql.as_ref() {
            Sql::Query(_) | Sql::ShowTables { .. } | Sql::ShowColumns { .. } | Sql::ExplainTable { .. } => Ok(()),
            _ => Err(SqlError::Refused("only SELECT, EXPLAIN, SHOW and DESCRIBE are allowed")),
        },
        _ => Err(SqlError::Refused("only SELECT, EXPLAIN, SHOW and DESCRIBE are allowed")),
    }
}

fn measure(sql: &str) -> Result<(), SqlError> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize();
    let tokens = tokens.map_err(|error| SqlError::Invalid(error.to_string()))?;
    let (mut count, mut operators, mut joins) = (0_usize, 0_usize, 0_usize);
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    for token in tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))) {
        count += 1;
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            Token::Word(word) => match word.keyword {
                Keyword::CASE => depth += 1,
                Keyword::END => depth = depth.saturating_sub(1),
                Keyword::JOIN => joins += 1,
                Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::BETWEEN
                | Keyword::IS
                | Keyword::UNION
                | Keyword::INTERSECT
                | Keyword::EXCEPT => operators += 1,
                _ => {}
            },
            Token::Comma | Token::Period | Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) => {
            }
            _ => operators += 1,
        }
        deepest = deepest.max(depth);
    }
    let within = count <= MAX_TOKENS && operators <= MAX_OPERATORS && joins <= MAX_JOINS && deepest <= MAX_DEPTH;
    if within { Ok(()) } else { Err(SqlError::TooComplex) }
}
