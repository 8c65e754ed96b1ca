//! Why query parameters are refused.

use std::fmt;

/// What is wrong with a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryFault {
    /// No such parameter.
    Unknown,
    /// It asks for XML attributes, which events in JSON do not have.
    XmlOnly,
    /// Its value is not of the form that it takes.
    Value,
    /// It has more values, or the query more parameters, than are allowed.
    TooMany,
    /// It was given twice.
    Twice,
    /// It excludes another one that was given too, or needs one that was not.
    Combination,
}

/// Query parameters that are refused, as the standard's `QueryParameterException`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    /// What is wrong.
    pub fault: QueryFault,
    /// The name of the parameter, shortened and without control characters.
    pub parameter: String,
}

impl QueryError {
    pub(super) fn new(fault: QueryFault, parameter: &str) -> Self {
        let parameter = parameter.chars().filter(|c| !c.is_control()).take(80).collect();
        Self { fault, parameter }
    }

    /// The exception of the standard that goes with it.
    pub fn exception(&self) -> &'static str {
        match self.fault {
            QueryFault::TooMany => "QueryTooComplexException",
            _ => "QueryParameterException",
        }
    }

    /// Its code.
    pub fn code(&self) -> tradelane_model::ErrorCode {
        tradelane_model::codes::QUERY_INVALID
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            QueryFault::Unknown => {
                "is no parameter of SimpleEventQuery; check its spelling, and the prefix of an extension"
            }
            QueryFault::XmlOnly => "asks for XML attributes, which events in JSON do not have",
            QueryFault::Value => {
                "has a value that it does not take; see the standard's table of parameters for its form"
            }
            QueryFault::TooMany => "goes beyond the number of parameters or values that one query may have",
            QueryFault::Twice => "is given twice; separate several values with '|'",
            QueryFault::Combination => {
                "does not go with the other parameters: eventCountLimit needs orderBy and excludes maxEventCount"
            }
        };
        write!(f, "the query parameter {} {what}", self.parameter)
    }
}

impl std::error::Error for QueryError {}
