//! Policies whose functions call themselves: the engine follows them until its stack is full.
//!
//! It finds rules that need themselves, whose values it has to have, but not functions. Rego knows no
//! recursion of either kind.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Literal, Module, Query, Ref, Rule, RuleAssign, RuleHead};

use crate::{Error, ErrorKind};

/// Refuses functions that may come to call themselves, by way of others or by a `with` that puts one in
/// the place of another. The policy was parsed, so this goes no deeper than the parser did.
pub(super) fn check(modules: &[Ref<Module>]) -> Result<(), Error> {
    for module in modules {
        let calls = Calls::of(module);
        if let Some(circle) = calls.circle() {
            let first = circle.first().copied().unwrap_or_default();
            let by_way_of = circle.get(1..).unwrap_or_default();
            let mut what = format!("the policy's function {first} calls itself");
            if !by_way_of.is_empty() {
                what = format!("{what}, by way of {}", by_way_of.join(", "));
            }
            return Err(Error::new(ErrorKind::Rules, what));
        }
    }
    Ok(())
}

/// What each function may call, by names as the engine makes them of references.
#[derive(Debug, Default)]
struct Calls {
    /// The package, with the dot behind it.
    package: String,
    called: BTreeMap<String, BTreeSet<String>>,
}

impl Calls {
    fn of(module: &Module) -> Self {
        let package = path(&module.package.refr).unwrap_or_default();
        let mut calls = Self {
            package: format!("data.{package}."),
            called: BTreeMap::new(),
        };
        for rule in &module.policy {
            calls.take(rule);
        }
        calls
    }

    fn take(&mut self, rule: &Rule) {
        let mut caller = Caller::default();
        let name = match rule {
            Rule::Spec { head, bodies, .. } => {
                let (refr, args, assign) = match head {
                    RuleHead::Func {
                        refr, args, assign, ..
                    } => (refr, &args[..], assign.as_ref()),
                    RuleHead::Compr { refr, assign, .. } => (refr, &[][..], assign.as_ref()),
                    RuleHead::Set { refr, key, .. } => (refr, key.as_slice(), None),
                };
                caller.all(args);
                caller.assign(assign);
                for body in bodies {
                    caller.assign(body.assign.as_ref());
                    caller.query(&body.query);
                }
                refr
            }
            Rule::Default {
                refr, args, value, ..
            } => {
                caller.all(args);
                caller.expr(value);
                refr
            }
        };
        let name = path(name).map(|name| self.full(&name)).unwrap_or_default();
        let called: Vec<String> = caller.called.iter().map(|name| self.full(name)).collect();
        self.called.entry(name).or_default().extend(called);
        // Whoever is called may turn out to be what was put in its place.
        for (of, instead) in caller.replaced {
            let (of, instead) = (self.full(&of), self.full(&instead));
            self.called.entry(of).or_default().insert(instead);
        }
    }

    /// A name as one of the package, if it does not say where it belongs.
    fn full(&self, name: &str) -> String {
        if name.starts_with("data.") {
            name.to_owned()
        } else {
            format!("{}{name}", self.package)
        }
    }

    /// Functions that call each other in a circle.
    fn circle(&self) -> Option<Vec<&str>> {
        let mut done = BTreeSet::new();
        for start in self.called.keys() {
            // The way here: each function, and what it calls that was not looked at yet.
            let mut way: Vec<(&str, Vec<&str>)> = Vec::new();
            let mut next = Some(&**start);
            loop {
                if let Some(at) = next.and_then(|next| way.iter().position(|on| on.0 == next)) {
                    let circle = way.iter().skip(at);
                    return Some(circle.map(|on| self.short(on.0)).collect());
                }
                if let Some(name) = next
                    && done.insert(name)
                {
                    let called = self.called.get(name).into_iter().flatten();
                    way.push((name, called.map(String::as_str).collect()));
                }
                let Some((_, called)) = way.last_mut() else {
                    break;
                };
                next = called.pop();
                if next.is_none() {
                    way.pop();
                }
            }
        }
        None
    }

    fn short<'n>(&self, name: &'n str) -> &'n str {
        name.strip_prefix(&*self.package).unwrap_or(name)
    }
}

/// What one rule calls, and what it has replaced for the time of a call.
#[derive(Debug, Default)]
struct Caller {
    called: BTreeSet<String>,
    replaced: Vec<(String, String)>,
}

impl Caller {
    fn all(&mut self, exprs: &[Ref<Expr>]) {
        for expr in exprs {
            self.expr(expr);
        }
    }

    fn assign(&mut self, assign: Option<&RuleAssign>) {
        if let Some(assign) = assign {
            self.expr(&assign.value);
        }
    }

    fn query(&mut self, query: &Query) {
        for statement in &query.stmts {
            match &statement.literal {
                Literal::SomeVars { .. } => {}
                Literal::SomeIn {
                    key,
                    value,
                    collection,
                    ..
                } => {
                    self.all(key.as_slice());
                    self.expr(value);
                    self.expr(collection);
                }
                Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.expr(expr),
                Literal::Every { domain, query, .. } => {
                    self.expr(domain);
                    self.query(query);
                }
            }
            for with in &statement.with_mods {
                self.expr(&with.refr);
                self.expr(&with.r#as);
                if let (Some(of), Some(instead)) = (path(&with.refr), path(&with.r#as)) {
                    self.replaced.push((of, instead));
                }
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. }
            | Expr::Var { .. } => {}
            Expr::Array { items, .. } | Expr::Set { items, .. } => self.all(items),
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.expr(key);
                    self.expr(value);
                }
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.expr(term);
                self.query(query);
            }
            Expr::ObjectCompr {
                key, value, query, ..
            } => {
                self.expr(key);
                self.expr(value);
                self.query(query);
            }
            Expr::Call { fcn, params, .. } => {
                self.called.extend(path(fcn));
                self.expr(fcn);
                self.all(params);
            }
            Expr::UnaryExpr { expr, .. } => self.expr(expr),
            Expr::RefDot { refr, .. } => self.expr(refr),
            Expr::RefBrack { refr, index, .. } => {
                self.expr(refr);
                self.expr(index);
            }
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. }
            | Expr::AssignExpr { lhs, rhs, .. } => {
                self.expr(lhs);
                self.expr(rhs);
            }
            Expr::Membership {
                key,
                value,
                collection,
                ..
            } => {
                self.all(key.as_slice());
                self.expr(value);
                self.expr(collection);
            }
        }
    }
}

/// The name that the engine calls a function by: of an index, what stands in its quotes.
fn path(mut refr: &Expr) -> Option<String> {
    let mut parts = Vec::new();
    loop {
        match refr {
            Expr::RefDot {
                refr: of, field, ..
            } => {
                parts.push(field.0.text());
                refr = of;
            }
            Expr::RefBrack {
                refr: of, index, ..
            } => {
                if let Expr::String { span, .. } = index.as_ref() {
                    parts.push(span.text());
                }
                refr = of;
            }
            Expr::Var { span, .. } => {
                parts.push(span.text());
                break;
            }
            _ => return None,
        }
    }
    parts.reverse();
    Some(parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;
    use crate::evaluate::{Evaluator, Request, Verdict};
    use crate::generate::Profile;

    fn judged(rules: &str) -> Result<Verdict, Error> {
        let policy = Policy::from_text(format!("package agent_policy\n{rules}\n"));
        let request = Request::parse("CopyFileRequest", "{}")?;
        let decision = Evaluator::new(Profile::AksAzl3, &policy)?.judge(&request)?;
        Ok(decision.verdict)
    }

    #[test]
    fn functions_that_call_themselves_are_refused() {
        for (rules, circle) in [
            ("f(x) = y { y = f(x) }", "f calls itself"),
            ("f(x) = f(x)", "f calls itself"),
            ("f(x) = [f(x), 1][0]", "f calls itself"),
            ("f(x) { false } else = f(x)", "f calls itself"),
            ("f(x) { false } else { f(x) }", "f calls itself"),
            ("f(x) { not f(x) }", "f calls itself"),
            ("f(x) { y := {z: 1 | z := f(x)}; y }", "f calls itself"),
            ("f(x) { x[f(x)] }", "f calls itself"),
            ("f(x) { -f(x) == 1 }", "f calls itself"),
            ("f(x) { count([f(x)]) == 1 }", "f calls itself"),
            ("f(x) { data.agent_policy.f(x) }", "f calls itself"),
            ("f(x) { data[\"agent_policy\"].f(x) }", "f calls itself"),
            (
                "f(x) { g(x) }\ng(x) { f(x) }",
                "f calls itself, by way of g",
            ),
            (
                "h(x) { f(x) }\nf(x) { g(x) }\ng(1) { k(1) }\ng(2) { f(2) }\nk(x) { x }",
                "f calls itself, by way of g",
            ),
            (
                "f(1) = 1\nf(x) = g(x)\ng(x) = f(x)",
                "f calls itself, by way of g",
            ),
            (
                "g(x) { x }\nf(x) { g(x) with g as f }",
                "calls itself, by way of",
            ),
        ] {
            let error = judged(&format!("{rules}\nCopyFileRequest {{ f(1) }}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rules, "{rules}");
            assert!(error.to_string().contains(circle), "{rules}: {error}");
        }
    }

    #[test]
    fn rules_that_need_themselves_are_found_by_the_engine() {
        for rules in [
            "r { r }\nf(x) { x }",
            "r { f(1) }\nf(x) { r }",
            "r[x] { x := f(1) }\nf(x) { r[x] }",
            "r = [x | x := f(1)]\nf(x) = r",
        ] {
            let error = judged(&format!("{rules}\nCopyFileRequest {{ r }}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rules, "{rules}");
            assert!(error.to_string().contains("recursion"), "{rules}: {error}");
        }
    }

    #[test]
    fn functions_that_share_others_are_not_refused() {
        let rules = "f(x) { g(x); h(x) }\ng(x) { k(x) }\nh(x) { k(x); g(x); k(k(x)) }\nk(x) = x { x.f == x.g } else = x";
        let verdict = judged(&format!("{rules}\nCopyFileRequest {{ f(true) }}")).unwrap();
        assert_eq!(verdict, Verdict::Allowed);
        // A name that another package has is another function.
        let rules = "f(x) { data.other.f(x) }\nCopyFileRequest { f(1) }";
        assert!(!judged(rules).is_err_and(|error| error.to_string().contains("itself")));
    }
}
