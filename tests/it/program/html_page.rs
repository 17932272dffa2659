//! Reads a page of HTML as browsers do, and says whether it is well-formed, self-contained and without scripts.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use html5ever::interface::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::{StrTendril, TendrilSink as _};
use html5ever::{Attribute, ExpandedName, ParseOpts, QualName, parse_document};

/// Attributes whose value a browser may load.
const LOADED: [&str; 9] =
    ["src", "href", "srcset", "action", "data", "poster", "background", "formaction", "ping"];

/// What a parser saw: errors, elements by handle, attributes, text.
#[derive(Default)]
struct Seen {
    next: Cell<usize>,
    names: RefCell<Vec<(usize, &'static QualName)>>,
    elements: RefCell<Vec<String>>,
    attributes: RefCell<Vec<(String, String)>>,
    text: RefCell<String>,
    errors: RefCell<Vec<String>>,
}

impl Seen {
    fn handle(&self) -> usize {
        self.next.set(self.next.get() + 2);
        self.next.get()
    }
}

impl TreeSink for Seen {
    type Handle = usize;
    type Output = Self;
    type ElemName<'a> = ExpandedName<'a>;

    fn finish(self) -> Self {
        self
    }
    fn get_document(&self) -> usize {
        0
    }
    fn get_template_contents(&self, target: &usize) -> usize {
        target + 1
    }
    fn same_node(&self, one: &usize, other: &usize) -> bool {
        one == other
    }
    fn elem_name(&self, target: &usize) -> ExpandedName<'_> {
        let names = self.names.borrow();
        names.iter().find(|(handle, _)| handle == target).unwrap().1.expanded()
    }
    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, _: ElementFlags) -> usize {
        let handle = self.handle();
        self.elements.borrow_mut().push(name.local.to_string());
        let attributes = attributes.into_iter();
        let pairs =
            attributes.map(|attribute| (attribute.name.local.to_string(), attribute.value.to_string()));
        self.attributes.borrow_mut().extend(pairs);
        // The sink must return references; there are few elements.
        self.names.borrow_mut().push((handle, Box::leak(Box::new(name))));
        handle
    }
    fn create_comment(&self, _: StrTendril) -> usize {
        self.handle()
    }
    fn create_pi(&self, _: StrTendril, _: StrTendril) -> usize {
        self.handle()
    }
    fn append(&self, _: &usize, child: NodeOrText<usize>) {
        if let NodeOrText::AppendText(text) = child {
            self.text.borrow_mut().push_str(&text);
        }
    }
    fn append_before_sibling(&self, _: &usize, _: NodeOrText<usize>) {}
    fn append_based_on_parent_node(&self, _: &usize, _: &usize, _: NodeOrText<usize>) {}
    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}
    fn parse_error(&self, message: Cow<'static, str>) {
        self.errors.borrow_mut().push(message.into_owned());
    }
    fn set_quirks_mode(&self, mode: QuirksMode) {
        assert_eq!(mode, QuirksMode::NoQuirks);
    }
    fn add_attrs_if_missing(&self, _: &usize, _: Vec<Attribute>) {}
    fn remove_from_parent(&self, _: &usize) {}
    fn reparent_children(&self, _: &usize, _: &usize) {}
    fn mark_script_already_started(&self, _: &usize) {}
}

fn parse(page: &str) -> Seen {
    parse_document(Seen::default(), ParseOpts::default()).one(page)
}

/// Fails where a page is not well-formed, runs a script, or loads anything. Returns its text.
#[track_caller]
pub(super) fn assert_sound(page: &str) -> String {
    let seen = parse(page);
    assert_eq!(*seen.errors.borrow(), [""; 0], "{page}");
    let elements = seen.elements.borrow();
    for forbidden in ["script", "link", "img", "iframe", "object", "embed", "image", "use", "foreignObject"] {
        assert!(!elements.iter().any(|element| element == forbidden), "{forbidden}");
    }
    for (name, value) in &*seen.attributes.borrow() {
        assert!(!LOADED.contains(&name.as_str()) && !name.starts_with("on"), "{name}={value}");
        assert!(name == "xmlns" || !value.contains("//"), "{name}={value}");
    }
    let styles = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    assert!(!styles.contains("url(") && !styles.contains("@import"));
    assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'; img-src data:"));
    seen.text.take()
}

#[test]
fn the_parser_finds_what_is_wrong() {
    let sound = "<!DOCTYPE html><html lang=\"en\"><head><title>x</title></head><body><p>x</p></body></html>";
    assert_eq!(*parse(sound).errors.borrow(), [""; 0]);
    for (from, to) in
        [("</p>", "</b></p>"), ("<p>", "<p a=1 a=2>"), ("</p>", "<br/x>"), ("x</p>", "&#0;</p>")]
    {
        let wrong = sound.replace(from, to);
        assert!(!parse(&wrong).errors.take().is_empty(), "{wrong}");
    }
}
