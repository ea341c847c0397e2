//! A YAML document as a tree in which every value knows its place, so that a reader can go on after a mistake and
//! name every one of them with line and column.

use super::Finding;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};
use serde_saphyr::Spanned;
use std::fmt;

/// Where something stands, from 1.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

impl Place {
    pub fn finding(self, text: impl Into<String>) -> Finding {
        Finding { line: self.line, column: self.column, text: text.into() }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    pub place: Place,
    pub value: Tree,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Tree {
    Nothing,
    Boolean(bool),
    Integer(i64),
    /// A number that is not whole, or does not fit; nothing here takes one.
    OtherNumber,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    pub place: Place,
    pub key: String,
    pub node: Node,
}

impl Node {
    /// Reads a document.
    pub fn parse(text: &str) -> Result<Self, Finding> {
        crate::yaml::from_str::<Spanned<Tree>>(text).map(Self::from)
    }

    /// Returns what a person would call this kind of value.
    pub fn what(&self) -> &'static str {
        match self.value {
            Tree::Nothing => "nothing",
            Tree::Boolean(_) => "true or false",
            Tree::Integer(_) => "a whole number",
            Tree::OtherNumber => "a number that is not whole",
            Tree::Text(_) => "a text",
            Tree::List(_) => "a list",
            Tree::Map(_) => "a map",
        }
    }

    /// Returns the value as an action's argument.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Tree::Nothing | Tree::OtherNumber => Json::Null,
            Tree::Boolean(flag) => (*flag).into(),
            Tree::Integer(number) => (*number).into(),
            Tree::Text(text) => text.clone().into(),
            Tree::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Tree::Map(entries) => {
                Json::Object(entries.iter().map(|e| (e.key.clone(), e.node.to_json())).collect::<Map<_, _>>())
            }
        }
    }

    /// Calls `look` with every text in the value, however deep.
    pub fn each_text(&self, look: &mut dyn FnMut(&str, Place)) {
        match &self.value {
            Tree::Text(text) => look(text, self.place),
            Tree::List(items) => items.iter().for_each(|item| item.each_text(look)),
            Tree::Map(entries) => entries.iter().for_each(|entry| entry.node.each_text(look)),
            _ => {}
        }
    }
}

fn place<T>(spanned: &Spanned<T>) -> Place {
    Place { line: spanned.referenced.line(), column: spanned.referenced.column() }
}

impl From<Spanned<Tree>> for Node {
    fn from(spanned: Spanned<Tree>) -> Self {
        Self { place: place(&spanned), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }
    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Boolean(flag))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Integer(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(i64::try_from(number).map_or(Tree::OtherNumber, Tree::Integer))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::OtherNumber)
    }
    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Spanned<Tree>>()? {
            items.push(item.into());
        }
        Ok(Tree::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Tree>>()? {
            entries.push(Entry { place: place(&key), key: key.value, node: value.into() });
        }
        Ok(Tree::Map(entries))
    }
}
