//! PostgreSQL's own text form of a parsed expression or query (`pg_node_tree`), read by a real tokenizer.
//!
//! `pg_proc.prosqlbody`, `pg_constraint.conbin`, `pg_policy.polqual` and their kin hold what PostgreSQL understood, not
//! what somebody wrote. The form is made by `outfuncs.c` and read by `read.c` (PostgreSQL 15):
//!
//! ```text
//! {OPEXPR :opno 98 :args ({VAR :varno 1 …} {CONST :constvalue 5 [ 1 0 0 0 0 ]}) …}
//! ```
//!
//! * A token ends at white space, `(`, `)`, `{` or `}`; a backslash takes the next byte as it is.
//! * After a `:label` the next token is **always** a value, whatever it starts with: the alias `":relid"` is written
//!   `:aliasname :relid`, and a pattern match over the text would take the value for a label.
//! * A bare `<>` is nothing; `\<>` is a name.
//! * Lists hold nodes, quoted strings, or numbers after a letter: `(i …)` integers, `(o …)` oids, `(b …)` a bit set.

/// Deeper trees are refused: the readers of a tree recurse.
const DEPTH_MAX: usize = 400;

/// What can stand after a label or in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `<>`: no node, no string, an empty list.
    Nothing,
    /// A number, a word, an unquoted name.
    Atom(String),
    /// A string node, without its quotes.
    Text(String),
    /// The bytes of a constant, in the server's byte order.
    Bytes(Vec<u8>),
    /// `(i …)`, `(o …)`, `(b …)`, `(x …)`.
    Numbers(Vec<i64>),
    List(Vec<Value>),
    Node(Node),
}

/// `{KIND :label value …}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub kind: String,
    pub fields: Vec<(String, Value)>,
}

/// The text is not in PostgreSQL's form; says at which byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PostgreSQL's node text is not understood at byte {at}: {what}")]
pub struct Unreadable {
    pub at: usize,
    pub what: &'static str,
}

impl Node {
    /// The value after `label`; [`Value::Nothing`] when there is no such label.
    #[must_use]
    pub fn get(&self, label: &str) -> &Value {
        self.fields.iter().find(|(name, _)| name == label).map_or(&Value::Nothing, |(_, value)| value)
    }

    /// The number after `label`.
    #[must_use]
    pub fn number(&self, label: &str) -> Option<i64> {
        self.get(label).number()
    }

    /// The oid after `label`; 0 is none.
    #[must_use]
    pub fn oid(&self, label: &str) -> Option<u32> {
        self.number(label).and_then(|n| u32::try_from(n).ok()).filter(|oid| *oid != 0)
    }

    /// Whether `label` says `true`.
    #[must_use]
    pub fn is(&self, label: &str) -> bool {
        matches!(self.get(label), Value::Atom(word) if word == "true")
    }
}

impl Value {
    /// Reads one whole tree.
    ///
    /// ```
    /// use dinehub::database::tree::Value;
    /// let tree = Value::read("{ALIAS :aliasname :relid :colnames (\"a\\ b\")}").unwrap();
    /// let Value::Node(alias) = tree else { unreachable!() };
    /// assert_eq!(alias.get("aliasname"), &Value::Atom(":relid".into()));
    /// assert_eq!(alias.get("colnames").items(), [Value::Text("a b".into())]);
    /// ```
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
        let value = reader.value(0)?;
        match reader.token()? {
            None => Ok(value),
            Some(_) => Err(reader.fail("more text after the tree")),
        }
    }

    /// The node, when it is one.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        match self {
            Self::Node(node) => Some(node),
            _ => None,
        }
    }

    /// The node, when it is one of this kind.
    #[must_use]
    pub fn kind(&self, kind: &str) -> Option<&Node> {
        self.node().filter(|node| node.kind == kind)
    }

    /// The number, when it is one.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Atom(word) => word.parse().ok(),
            _ => None,
        }
    }

    /// The members of a list; none of anything else.
    #[must_use]
    pub fn items(&self) -> &[Value] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The members of a list of numbers; none of anything else.
    #[must_use]
    pub fn numbers(&self) -> &[i64] {
        match self {
            Self::Numbers(numbers) => numbers,
            _ => &[],
        }
    }

    /// Every node in this value, parents before their children.
    pub fn visit<'a>(&'a self, see: &mut impl FnMut(&'a Node)) {
        match self {
            Self::Node(node) => {
                see(node);
                node.fields.iter().for_each(|(_, value)| value.visit(see));
            }
            Self::List(items) => items.iter().for_each(|item| item.visit(see)),
            _ => {}
        }
    }
}

/// One token; `is_bare` when no byte of it was escaped, so that `<>` and `"` mean what they look like.
struct Token {
    text: String,
    is_bare: bool,
    is_quoted: bool,
}

impl Token {
    fn is(&self, word: &str) -> bool {
        self.is_bare && self.text == word
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn fail(&self, what: &'static str) -> Unreadable {
        Unreadable { at: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t')) {
            self.at += 1;
        }
    }

    /// As `pg_strtok`, with the escapes already taken away.
    fn token(&mut self) -> Result<Option<Token>, Unreadable> {
        self.skip_space();
        let Some(first) = self.peek() else { return Ok(None) };
        let mut bytes = Vec::new();
        let mut is_bare = true;
        let mut ends_quoted = false;
        if is_bracket(first) {
            self.at += 1;
            bytes.push(first);
        } else {
            while let Some(byte) = self.peek() {
                match byte {
                    b' ' | b'\n' | b'\t' => break,
                    byte if is_bracket(byte) => break,
                    b'\\' => {
                        let escaped = self.bytes.get(self.at + 1).ok_or_else(|| self.fail("a lone backslash"))?;
                        bytes.push(*escaped);
                        is_bare = false;
                        ends_quoted = false;
                        self.at += 2;
                    }
                    byte => {
                        bytes.push(byte);
                        ends_quoted = byte == b'"';
                        self.at += 1;
                    }
                }
            }
        }
        let is_quoted = first == b'"' && ends_quoted && bytes.len() >= 2;
        let text = String::from_utf8(bytes).map_err(|_| self.fail("not UTF-8"))?;
        Ok(Some(Token { text, is_bare, is_quoted }))
    }

    fn must(&mut self) -> Result<Token, Unreadable> {
        self.token()?.ok_or_else(|| self.fail("it ends too early"))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Unreadable> {
        let token = self.must()?;
        self.value_from(token, depth)
    }

    fn value_from(&mut self, token: Token, depth: usize) -> Result<Value, Unreadable> {
        if depth > DEPTH_MAX {
            return Err(self.fail("nested too deep"));
        }
        if token.is("{") {
            return self.node(depth + 1).map(Value::Node);
        }
        if token.is("(") {
            return self.list(depth + 1);
        }
        if token.is(")") || token.is("}") {
            return Err(self.fail("a value was due"));
        }
        if token.is("<>") {
            return Ok(Value::Nothing);
        }
        if token.is_quoted {
            let inner = token.text.get(1..token.text.len() - 1).unwrap_or_default();
            return Ok(Value::Text(inner.to_owned()));
        }
        Ok(Value::Atom(token.text))
    }

    fn node(&mut self, depth: usize) -> Result<Node, Unreadable> {
        let kind = self.must()?.text;
        let mut fields = Vec::new();
        loop {
            let token = self.must()?;
            if token.is("}") {
                return Ok(Node { kind, fields });
            }
            let label = match token.text.strip_prefix(':') {
                Some(label) if token.is_bare => label.to_owned(),
                _ => return Err(self.fail("a label was due")),
            };
            let value = if label == "constvalue" { self.constant()? } else { self.value(depth)? };
            fields.push((label, value));
        }
    }

    /// `4 [ 1 0 0 0 0 0 0 0 ]`: a length, then signed bytes (a number by value is padded to eight), or `<>`.
    fn constant(&mut self) -> Result<Value, Unreadable> {
        if self.must()?.is("<>") {
            return Ok(Value::Nothing);
        }
        if !self.must()?.is("[") {
            return Err(self.fail("`[` was due"));
        }
        let mut bytes = Vec::new();
        loop {
            let token = self.must()?;
            if token.is("]") {
                return Ok(Value::Bytes(bytes));
            }
            let signed: i16 = token.text.parse().map_err(|_| self.fail("a byte was due"))?;
            let byte = u8::try_from(signed.rem_euclid(256)).map_err(|_| self.fail("a byte was due"))?;
            bytes.push(byte);
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Unreadable> {
        let mut token = self.must()?;
        if ["b", "i", "o", "x"].iter().any(|letter| token.is(letter)) {
            return self.numbers();
        }
        let mut items = Vec::new();
        while !token.is(")") {
            items.push(self.value_from(token, depth)?);
            token = self.must()?;
        }
        Ok(Value::List(items))
    }

    fn numbers(&mut self) -> Result<Value, Unreadable> {
        let mut numbers = Vec::new();
        loop {
            let token = self.must()?;
            if token.is(")") {
                return Ok(Value::Numbers(numbers));
            }
            numbers.push(token.text.parse().map_err(|_| self.fail("a number was due"))?);
        }
    }
}

fn is_bracket(byte: u8) -> bool {
    matches!(byte, b'(' | b')' | b'{' | b'}')
}

#[cfg(test)]
mod tests;
