//! The agent's engine.

use core::fmt;
use core::num::{NonZeroU32, NonZeroUsize};
use core::time::Duration;

use regorus::utils::limits::{ExecutionTimerConfig, PolicyLengthConfig};
use serde_json::{Value, json};

use super::request::Request;
use super::stack::with_room;
use super::{nesting, recursion, shape};
use crate::generate::Profile;
use crate::settings;
use crate::{Error, ErrorKind, Policy};

/// What the agent allows a policy: columns of a line, bytes, lines.
const LIMITS: PolicyLengthConfig = PolicyLengthConfig {
    max_col: NonZeroU32::MIN.saturating_add(64 * 1024 - 1),
    max_file_bytes: NonZeroUsize::MIN.saturating_add(16 * 1024 * 1024 - 1),
    max_lines: NonZeroUsize::MIN.saturating_add(200_000 - 1),
};

/// The agent has no limit of time. A policy that takes this long would hold up the pod.
const TIME: ExecutionTimerConfig = ExecutionTimerConfig {
    limit: Duration::from_secs(10),
    check_interval: NonZeroU32::MIN.saturating_add(1023),
};

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The agent would serve it.
    Allowed,
    /// The agent would refuse it.
    Denied,
    /// The policy says nothing of it: the agent would refuse it as a fault.
    Undefined,
}

impl Verdict {
    /// Its name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Undefined => "undefined",
        }
    }
}

/// A verdict, and what the rules printed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Decision {
    /// What became of the request.
    pub verdict: Verdict,
    /// Whether that is so only because the policy lets pass what it denies.
    pub is_lenient: bool,
    /// What the rules printed.
    pub prints: Vec<String>,
}

/// A policy at work: judges requests in order, with the agent's state.
pub struct Evaluator {
    engine: regorus::Engine,
    profile: Profile,
    /// All of `data`, where the agent has state.
    data: Option<Value>,
    lets_failing_pass: bool,
}

impl fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluator")
            .field("profile", &self.profile)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

impl Evaluator {
    /// Puts a policy to work as the agent of this profile does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Rules`] if the agent's engine does not take it, or it has brackets so deep, or so
    /// many statements in one place, that the engine might not come back, or functions that call
    /// themselves.
    pub fn new(profile: Profile, policy: &Policy) -> Result<Self, Error> {
        nesting::check(policy.text())?;
        with_room(|| Self::load(profile, policy))?
    }

    fn load(profile: Profile, policy: &Policy) -> Result<Self, Error> {
        let mut engine = regorus::Engine::new();
        engine.set_rego_v0(profile.is_rego_v0());
        engine.set_policy_length_config(LIMITS);
        engine.set_strict_builtin_errors(false);
        engine.set_gather_prints(true);
        engine.set_execution_timer_config(TIME);
        engine
            .add_policy("agent_policy".to_owned(), policy.text().to_owned())
            .map_err(|error| faulty(&error))?;
        recursion::check(engine.get_modules())?;
        let mut evaluator = Self {
            engine,
            profile,
            data: profile.has_state().then(|| json!({"pstate": {}})),
            lets_failing_pass: false,
        };
        evaluator.give_data()?;
        let lenient = evaluator.value("AllowRequestsFailingPolicy")?;
        evaluator.lets_failing_pass = lenient == Some(Value::Bool(true));
        Ok(evaluator)
    }

    /// Judges a request; if it is allowed, the state goes on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Rules`] if the rules fail, answer with what the agent does not understand, or
    /// take over 10 seconds.
    pub fn judge(&mut self, request: &Request) -> Result<Decision, Error> {
        with_room(|| self.decide(request))?
    }

    fn decide(&mut self, request: &Request) -> Result<Decision, Error> {
        let mut body = request.body().clone();
        shape::complete(request.kind(), &mut body, self.profile == Profile::Kata);
        self.engine.set_input(regorus::Value::from(body));
        let value = self.value(request.kind());
        let prints = self.engine.take_prints().unwrap_or_default();
        let verdict = match value? {
            None => Verdict::Undefined,
            Some(Value::Bool(true)) => Verdict::Allowed,
            Some(Value::Bool(false)) => Verdict::Denied,
            Some(answer) => self.with_state(&answer)?,
        };
        let is_lenient = verdict != Verdict::Allowed && self.lets_failing_pass;
        Ok(Decision {
            verdict: if is_lenient {
                Verdict::Allowed
            } else {
                verdict
            },
            is_lenient,
            prints,
        })
    }

    /// What the rules remember, where the agent has state.
    #[must_use]
    pub fn state(&self) -> Option<&Value> {
        self.data.as_ref()?.get("pstate")
    }

    /// An answer with changes to the state.
    fn with_state(&mut self, answer: &Value) -> Result<Verdict, Error> {
        let not_understood = || {
            Error::new(
                ErrorKind::Rules,
                "the rules answer with what is neither true nor false, nor an object that the agent takes",
            )
        };
        let allowed = answer.get("allowed").and_then(Value::as_bool);
        let ops = answer.get("ops").cloned().unwrap_or_else(|| json!([]));
        match (allowed, &mut self.data) {
            (Some(false), Some(_)) => Ok(Verdict::Denied),
            (Some(true), Some(data)) => {
                settings::patch(data, &ops.to_string(), "ops").map_err(|error| {
                    Error::new(
                        ErrorKind::Rules,
                        format!("the rules' changes to the state do not fit: {error}"),
                    )
                })?;
                self.give_data()?;
                Ok(Verdict::Allowed)
            }
            _ => Err(not_understood()),
        }
    }

    fn give_data(&mut self) -> Result<(), Error> {
        if let Some(data) = &self.data {
            self.engine.clear_data();
            self.engine
                .add_data(regorus::Value::from(data.clone()))
                .map_err(|error| faulty(&error))?;
        }
        Ok(())
    }

    /// The one value of an entry point.
    fn value(&mut self, entry_point: &str) -> Result<Option<Value>, Error> {
        let query = format!("data.agent_policy.{entry_point}");
        let results = self
            .engine
            .eval_query(query, false)
            .map_err(|error| faulty(&error))?;
        let [result] = &results.result[..] else {
            return Ok(None);
        };
        let [expression] = &result.expressions[..] else {
            return Ok(None);
        };
        if expression.value == regorus::Value::Undefined {
            return Ok(None);
        }
        let text = expression
            .value
            .to_json_str()
            .map_err(|error| faulty(&error))?;
        let value = serde_json::from_str(&text).map_err(|error| {
            let what = format!("the rules answer with what is no JSON for others: {error}");
            Error::new(ErrorKind::Rules, what)
        })?;
        Ok(Some(value))
    }
}

/// What the engine holds may be nested as deep as it worked.
impl Drop for Evaluator {
    fn drop(&mut self) {
        let engine = core::mem::take(&mut self.engine);
        // Without a thread it is dropped here.
        let _ = with_room(move || drop(engine));
    }
}

fn faulty(error: &impl fmt::Display) -> Error {
    Error::new(
        ErrorKind::Rules,
        format!("the engine does not take the policy: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(policy: &str) -> Result<Decision, Error> {
        let policy = Policy::from_text(format!("package agent_policy\n{policy}\n"));
        let request = Request::parse("CopyFileRequest", "{}")?;
        Evaluator::new(Profile::AksAzl3, &policy)?.judge(&request)
    }

    #[test]
    fn brackets_do_not_overflow_the_stack() {
        for (open, close) in [("[", "]"), ("{0:", "}"), ("[0,", "]"), ("- ", "")] {
            let policy = format!("X := {}1{}", open.repeat(20_000), close.repeat(20_000));
            let error = judged(&policy).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rules, "{open}");
            assert_eq!(error.path(), Some("line 2"), "{open}");
        }
    }

    #[test]
    fn rules_and_values_as_deep_as_they_may_be_do_not_overflow_the_stack() {
        let chain = |depth: usize, open: &str, close: &str| {
            let rules = (0..depth).map(|n| format!("r{n} = {open}r{}{close}\n", n + 1));
            let rules: String = rules.collect();
            judged(&format!("{rules}r{depth} = 1\nCopyFileRequest {{ r0 }}"))
        };
        let (open, close) = ("[0,".repeat(20), "]".repeat(20));
        for (open, close) in [("", ""), (&*open, &*close), ("1+", "+1")] {
            assert_eq!(chain(4000, open, close).unwrap().verdict, Verdict::Allowed);
            assert_eq!(
                chain(5000, open, close).unwrap_err().kind(),
                ErrorKind::Rules
            );
        }
        let statements = "[1][_]\n".repeat(4000);
        let decision = judged(&format!("CopyFileRequest {{\n{statements}}}")).unwrap();
        assert_eq!(decision.verdict, Verdict::Allowed);
    }

    #[test]
    fn an_answer_that_is_too_deep_is_an_error_of_the_rules() {
        let rules = (0..100).map(|n| format!("r{n} = [[r{}]]\n", n + 1));
        let rules: String = rules.collect();
        let error = judged(&format!("{rules}r100 = 1\nCopyFileRequest = r0")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rules);
    }
}
