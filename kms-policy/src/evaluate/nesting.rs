//! Policies that the engine's parser must not see: it goes down a level for each bracket, without an
//! end, and reads much of what stands in brackets twice at every level.
//!
//! The parser tries the beginning of `[…]` and `{…}` as a comprehension first, and reads it again as a
//! list, set or object. So what stands before the first comma in one is read twice, and within thirty
//! of them, 2³⁰ times. What stands behind a `|` may be read four times, and a statement of a body
//! twice, as its first term is tried as an assignment's left side.

use crate::{Error, ErrorKind};

/// How deep brackets and minus signs may stand within each other. The agents' rules and their data need
/// 9; of parentheses the engine itself takes 32.
const MAX_DEPTH: u32 = 32;
/// How many operators or indices may follow each other in one expression. Each goes a level down in the
/// engine's tree.
const MAX_CHAIN: u32 = 100;
/// The most statements of a body, and of the policy itself, where a rule is two or three. The engine goes
/// down a level for each statement of a body, and for each rule that names another. The agents' rules
/// are 669.
const MAX_STATEMENTS: u32 = 8192;
/// The most levels that the engine may go down if every rule names the next one, and names it where it
/// is deepest. The agents' rules have some thousands.
const MAX_LEVELS: u32 = 100_000;
/// The most tokens that the parser may read, with those that it reads again. A second has some millions.
const MAX_READ: u64 = 64 * 1024 * 1024;

/// Refuses a policy that would overflow the engine's stack, or keep its parser for minutes.
pub(super) fn check(policy: &str) -> Result<(), Error> {
    let mut scan = Scan::default();
    let mut tokens = Tokens {
        rest: policy,
        line: 1,
    };
    while let Some(token) = tokens.next() {
        scan.take(token).map_err(|what| {
            Error::new(ErrorKind::Rules, format!("the policy {what}"))
                .at(format!("line {}", tokens.line))
        })?;
    }
    Ok(())
}

/// A token, as far as it matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token {
    Open {
        bracket: u8,
        /// Whether nothing stands between it and the token before.
        is_adjacent: bool,
    },
    Close,
    Comma,
    /// A sign that ends one expression and begins the next.
    Separator,
    Bar,
    Minus,
    /// Any other sign, or the word `in`.
    Operator,
    /// A word, a number or a text.
    Operand,
}

/// The tokens of a policy, as the engine's lexer cuts it.
struct Tokens<'p> {
    rest: &'p str,
    line: usize,
}

impl<'p> Tokens<'p> {
    fn next(&mut self) -> Option<Token> {
        let before = self.rest.len();
        self.skip_space();
        let is_adjacent = before == self.rest.len();
        let first = *self.rest.as_bytes().first()?;
        let token = match first {
            b'[' | b'{' | b'(' => Token::Open {
                bracket: first,
                is_adjacent,
            },
            b']' | b'}' | b')' => Token::Close,
            b',' => Token::Comma,
            b';' => Token::Separator,
            b'|' => Token::Bar,
            b'-' => Token::Minus,
            b'"' => {
                self.text();
                return Some(Token::Operand);
            }
            b'`' => {
                self.raw_text();
                return Some(Token::Operand);
            }
            b':' | b'=' | b'<' | b'>' | b'!' => return Some(self.sign()),
            _ if is_word(first) => {
                let len = self.rest.bytes().take_while(|byte| is_word(*byte)).count();
                return Some(match self.cut(len) {
                    "in" => Token::Operator,
                    _ => Token::Operand,
                });
            }
            _ => Token::Operator,
        };
        // A sign that the lexer does not know ends its work; here it is one like any other.
        self.cut(self.rest.chars().next().map_or(1, char::len_utf8));
        Some(token)
    }

    fn cut(&mut self, len: usize) -> &'p str {
        let (cut, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        let lines = cut.bytes().filter(|byte| *byte == b'\n').count();
        self.line = self.line.saturating_add(lines);
        self.rest = rest;
        cut
    }

    fn skip_space(&mut self) {
        loop {
            let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
            let mut len = self.rest.bytes().take_while(is_space).count();
            if self.rest.as_bytes().get(len) == Some(&b'#') {
                let comment = self.rest.get(len..).unwrap_or_default();
                len = len.saturating_add(comment.find('\n').unwrap_or(comment.len()));
            }
            if len == 0 {
                return;
            }
            self.cut(len);
        }
    }

    /// A text to the quote at its end, or to the end of the policy: it has no other end for the lexer.
    fn text(&mut self) {
        let mut is_escaped = false;
        let mut len = self.rest.len();
        for (at, byte) in self.rest.bytes().enumerate().skip(1) {
            if byte == b'"' && !is_escaped {
                len = at.saturating_add(1);
                break;
            }
            is_escaped = byte == b'\\' && !is_escaped;
        }
        self.cut(len);
    }

    fn raw_text(&mut self) {
        let inner = self.rest.get(1..).unwrap_or_default();
        let end = inner.find('`').map(|at| at.saturating_add(2));
        self.cut(end.unwrap_or(self.rest.len()));
    }

    /// `:`, `=` and `:=` stand between expressions; `==` and `<=` are in one.
    fn sign(&mut self) -> Token {
        let mut bytes = self.rest.bytes();
        let (first, second) = (bytes.next(), bytes.next());
        let is_double = second == Some(b'=');
        self.cut(if is_double { 2 } else { 1 });
        match (first, is_double) {
            (Some(b':'), _) | (Some(b'='), false) => Token::Separator,
            _ => Token::Operator,
        }
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Brackets that are open.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// How often what stands here is read.
    read: u64,
    /// How much deeper than the level around it.
    depth: u32,
    kind: Kind,
    /// Whether a comma stood in it.
    is_past_comma: bool,
    /// Operators in the expression so far.
    chain: u32,
    /// Expressions so far that no comma stands before.
    statements: u32,
    /// Levels of its longest expression, and of its deepest brackets.
    longest: u32,
    deepest: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Of a call, an index or one expression; and the policy itself.
    Plain,
    /// A list, set or object.
    Items,
    /// One behind whose `|` statements stand.
    Comprehension,
    /// Statements.
    Body,
}

impl Level {
    const fn new(kind: Kind, read: u64, depth: u32) -> Self {
        Self {
            read,
            depth,
            kind,
            is_past_comma: false,
            chain: 0,
            statements: 0,
            longest: 0,
            deepest: 0,
        }
    }

    /// Levels from the deepest in it up to what it stands in.
    const fn height(&self) -> u32 {
        let inner = self.deepest.saturating_add(self.longest);
        let height = inner.saturating_add(self.depth);
        match self.kind {
            Kind::Items => height,
            _ => height.saturating_add(self.statements),
        }
    }

    /// Something that is no part of the expression before.
    const fn next_statement(&mut self) {
        self.chain = 0;
        self.statements = self.statements.saturating_add(1);
    }

    /// How often brackets in it are read each time that it is read.
    const fn times(&self) -> u64 {
        match (self.kind, self.is_past_comma) {
            (Kind::Plain, _) | (Kind::Items, true) => 1,
            (Kind::Items, false) | (Kind::Body, _) => 2,
            (Kind::Comprehension, _) => 4,
        }
    }
}

#[derive(Debug)]
struct Scan {
    levels: Vec<Level>,
    here: Level,
    depth: u32,
    read: u64,
    /// Levels of all rules before this one.
    before: u32,
    /// Minus signs with nothing behind them yet.
    minuses: u32,
    /// Whether an expression may end here.
    is_behind_operand: bool,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            levels: Vec::new(),
            here: Level::new(Kind::Plain, 1, 0),
            depth: 0,
            read: 0,
            before: 0,
            minuses: 0,
            is_behind_operand: false,
        }
    }
}

impl Scan {
    fn take(&mut self, token: Token) -> Result<(), &'static str> {
        self.read = self.read.saturating_add(self.here.read);
        if self.read > MAX_READ {
            return Err("has brackets that the engine would read over and over");
        }
        match token {
            Token::Open {
                bracket,
                is_adjacent,
            } => self.open(bracket, is_adjacent)?,
            Token::Close => {
                self.depth = self.depth.saturating_sub(self.here.depth);
                let height = self.here.height();
                self.here = self.levels.pop().unwrap_or(Level::new(Kind::Plain, 1, 0));
                self.here.deepest = self.here.deepest.max(height);
            }
            Token::Comma => {
                self.here.is_past_comma = true;
                self.here.chain = 0;
            }
            Token::Separator => self.next_statement(),
            Token::Bar => {
                if self.here.kind == Kind::Items {
                    self.here.kind = Kind::Comprehension;
                }
                self.here.chain = self.here.chain.saturating_add(1);
            }
            Token::Minus | Token::Operator => self.here.chain = self.here.chain.saturating_add(1),
            Token::Operand => {
                if self.is_behind_operand {
                    self.next_statement();
                }
            }
        }
        self.here.longest = self.here.longest.max(self.here.chain);
        self.minuses = match token {
            Token::Minus => self.minuses.saturating_add(1),
            _ => 0,
        };
        if self.depth.saturating_add(self.minuses) > MAX_DEPTH {
            return Err("has brackets or minus signs over 32 deep");
        }
        if self.here.chain > MAX_CHAIN {
            return Err("has over 100 operators in one expression");
        }
        if self.here.kind != Kind::Items && self.here.statements > MAX_STATEMENTS {
            return Err("has over 8,192 statements in one place");
        }
        if self.before > MAX_LEVELS {
            return Err("has rules that could lead the engine over 100,000 levels down");
        }
        self.is_behind_operand = matches!(token, Token::Close | Token::Operand);
        Ok(())
    }

    fn next_statement(&mut self) {
        if self.levels.is_empty() {
            let levels = self.here.deepest.saturating_add(self.here.longest);
            self.before = self.before.saturating_add(levels).saturating_add(1);
            (self.here.deepest, self.here.longest) = (0, 0);
        }
        self.here.next_statement();
    }

    fn open(&mut self, bracket: u8, is_adjacent: bool) -> Result<(), &'static str> {
        let kind = match (bracket, self.is_behind_operand) {
            // A body stands behind a word or a bracket; a set or an object never does.
            (b'{', true) => Kind::Body,
            (b'[', true) if is_adjacent => Kind::Plain,
            (b'[' | b'{', _) => Kind::Items,
            _ => Kind::Plain,
        };
        // An index or a call goes on with the expression; a call even on the next line.
        let goes_on = bracket == b'(' || (bracket == b'[' && is_adjacent);
        if self.is_behind_operand && goes_on {
            self.here.chain = self.here.chain.saturating_add(1);
        } else if self.is_behind_operand {
            self.next_statement();
        }
        let depth = self.minuses.saturating_add(1);
        let read = self.here.read.saturating_mul(self.here.times());
        self.levels.push(self.here);
        self.here = Level::new(kind, read, depth);
        self.depth = self.depth.saturating_add(depth);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a policy, and where.
    fn refusal(policy: &str) -> Option<String> {
        let error = check(policy).err()?;
        assert_eq!(error.kind(), ErrorKind::Rules);
        Some(format!("{error}"))
    }

    fn nested(open: &str, inner: &str, close: &str, depth: usize) -> String {
        format!("X := {}{inner}{}", open.repeat(depth), close.repeat(depth))
    }

    #[test]
    fn brackets_and_minus_signs_are_counted_together() {
        for (open, close) in [
            ("(", ")"),
            ("f(", ")"),
            ("a[", "]"),
            ("[0,", "]"),
            ("{0,", "}"),
            ("- ", ""),
            ("-", ""),
        ] {
            assert_eq!(refusal(&nested(open, "1", close, 32)), None, "{open}");
            let error = refusal(&nested(open, "1", close, 33)).unwrap();
            assert!(error.contains("over 32 deep"), "{error}");
            let error = refusal(&nested(open, "1", close, 20_000)).unwrap();
            assert!(error.contains("over 32 deep"), "{error}");
        }
        assert_eq!(refusal(&nested("- - (", "1", ")", 10)), None);
        assert!(refusal(&nested("- - (", "1", ")", 11)).is_some());
    }

    #[test]
    fn texts_and_comments_hold_no_brackets() {
        let many = "[".repeat(100);
        for policy in [
            format!("# {many}\n#{many}"),
            format!("x := \"{many}\\\"{many}\\\\\""),
            format!("x := `{many}\\`"),
            format!("x := \"#\" # \"{many}\nx := 1"),
        ] {
            assert_eq!(refusal(&policy), None, "{policy}");
            // What follows counts again.
            let error = refusal(&format!("{policy}\n{many}"));
            assert!(error.is_some(), "{policy}");
        }
    }

    #[test]
    fn what_the_parser_reads_again_and_again_is_refused() {
        for (open, inner, close) in [
            ("[", "", "]"),
            ("{\"a\":", "1", "}"),
            ("{", "1", ":1}"),
            ("[x | ", "1", "]"),
            ("{x | ", "1", "}"),
            ("[{1} | ", "1", ", 1]"),
        ] {
            assert_eq!(refusal(&nested(open, inner, close, 8)), None, "{open}");
            let error = refusal(&nested(open, inner, close, 30)).unwrap();
            assert!(error.contains("over and over"), "{error}");
        }
        // Many that are less deep take as long together.
        let one = nested("[", "", "]", 16);
        assert_eq!(refusal(&one), None);
        let error = refusal(&vec![one; 10_000].join("\n")).unwrap();
        assert!(error.starts_with("line "), "{error}");
        // What stands behind a comma is read once.
        assert_eq!(refusal(&nested("[0,", "1", "]", 32)), None);
        assert_eq!(refusal(&nested("{\"a\":1,\"b\":", "1", "}", 32)), None);
    }

    #[test]
    fn operators_and_statements_in_one_place_are_bounded() {
        for operator in [
            "+1", " - 1", ".a", "[0]", " in a", " == a", " | a", "()", "\n()",
        ] {
            let chain = |count: usize| refusal(&format!("X {{ a{} }}", operator.repeat(count)));
            assert_eq!(chain(100), None, "{operator}");
            let error = chain(101).unwrap();
            assert!(error.contains("operators"), "{error}");
        }
        // Another statement begins another expression.
        let error = refusal(&format!("X {{ {} }}", "a.b == 1\n".repeat(8_000)));
        assert_eq!(error, None);
        for many in ["a[_]\n".repeat(9_000), "a; ".repeat(9_000)] {
            let error = refusal(&format!("X {{ {many} }}")).unwrap();
            assert!(error.contains("statements"), "{error}");
        }
        assert!(refusal(&"r = r\n".repeat(9_000)).is_some());
        // Fewer that are deep, whether the depth is of brackets, operators or statements.
        for rule in [
            nested("[0,", "r", "]", 30),
            format!("r = 1{}", "+r".repeat(30)),
            format!("r {{ {} }}", "r;".repeat(30)),
        ] {
            let rules = |count: usize| refusal(&vec![&*rule; count].join("\n"));
            assert_eq!(rules(3000), None, "{rule}");
            let error = rules(3600).unwrap();
            assert!(error.contains("100,000 levels"), "{error}");
        }
        // Data has no statements.
        let list = vec!["{\"a\": 1}"; 50_000].join(",");
        assert_eq!(refusal(&format!("X := [{list}]")), None);
    }

    #[test]
    fn the_agents_rules_need_a_small_part_of_what_is_allowed() {
        use crate::generate::Profile;
        for profile in [Profile::AksAzl3, Profile::Aks3_15, Profile::Kata] {
            let rules = crate::rules::Rules::built_in(profile);
            let mut scan = Scan::default();
            let mut tokens = Tokens {
                rest: rules.text(),
                line: 1,
            };
            let mut depth = 0;
            while let Some(token) = tokens.next() {
                scan.take(token).unwrap();
                depth = depth.max(scan.depth);
            }
            assert!(depth <= MAX_DEPTH / 3, "{depth}");
            assert!(scan.here.statements < MAX_STATEMENTS / 8, "{scan:?}");
            assert!(scan.before < MAX_LEVELS / 10, "{scan:?}");
            assert!(scan.read < MAX_READ / 1000, "{scan:?}");
            // All brackets were closed: the tokens are those of the engine.
            assert!(scan.levels.is_empty(), "{scan:?}");
        }
    }
}
