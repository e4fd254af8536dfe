//! Documents and lines, good and bad. That the bytes are the reference renderer's is proven where
//! both are at hand: `tests/unit/templates`.

use super::*;

/// A document of this tree, over a source of each kind and some more.
fn document(node: &str) -> Result<Document> {
    let built_ins = r#"{"name":"pass.serial","type":"text","required":true,"default":null},
        {"name":"voided","type":"boolean","required":false,"default":null}"#;
    let slot = |name: &str, kind: &str, is_required: bool, default: &str| {
        format!(
            r#"{{"name":"{name}","type":"{kind}","required":{is_required},"default":{default}}}"#
        )
    };
    let slots = [
        slot("text", "text", false, "null"),
        slot("url", "url", false, "null"),
        slot("integer", "integer", false, "null"),
        slot("decimal", "decimal", false, "null"),
        slot("money", "money", false, "null"),
        slot("instant", "instant", false, "null"),
        slot("boolean", "boolean", false, "null"),
        slot("needed", "text", true, "null"),
        slot("tier", "text", false, r#""Gold\"""#),
        slot("price", "money", false, r#"[1250,"EUR"]"#),
    ];
    Document::from_json(
        format!(
            r#"{{"built_ins":[{built_ins}],"slots":[{}],"decimals":{{"JPY":0,"EUR":2}},
            "document":{node}}}"#,
            slots.join(",")
        )
        .as_bytes(),
    )
}

fn hole(source: &str, form: &str) -> String {
    format!(r#"{{"sources":["{source}"],"form":"{form}"}}"#)
}

fn text(source: &str) -> String {
    format!(r#"{{"text":[{}]}}"#, hole(source, "text"))
}

/// What a pass with these slot values becomes.
fn rendered(node: &str, values: &str) -> Result<String> {
    let line = format!(r#"["1",null,{values}]"#);
    let rendered = render(&document(node)?, line.as_bytes())?;
    Ok(String::from_utf8(rendered.concat()).unwrap())
}

fn refusal(node: &str, line: &str) -> Error {
    render(&document(node).unwrap(), line.as_bytes()).unwrap_err()
}

/// Golden: constants, texts, scalars and all that holds them, full and thinned out.
#[test]
fn a_tree_is_written_and_thinned_out() {
    let tree = format!(
        r#"{{"object":[
            ["a\"",{{"constant":"1.50"}}],
            ["text",{{"text":["<\n",{text},">",{integer}]}}],
            ["list",{{"array":[{{"constant":"null"}},{only_text},{{"constant":"true"}}]}}],
            ["thin",{{"array":[{only_text}]}}],
            ["none",{{"array":[]}}],
            ["first",{{"first_of":[{only_text},{{"scalar":{integer_number}}},{{"constant":"0"}}]}}],
            ["whole",{{"object":[["x",{only_text}],["y",{{"constant":"0"}}]],"whole":["x"],"keep":true}}],
            ["part",{{"object":[["x",{only_text}],["y",{{"constant":"0"}}]],"whole":["y"],"keep":false}}],
            ["gone",{{"object":[["x",{only_text}]],"whole":[],"keep":false}}],
            ["kept",{{"object":[["x",{only_text}]],"whole":[],"keep":true}}],
            ["bare",{{"object":[],"whole":[],"keep":false}}]
        ],"whole":[],"keep":true}}"#,
        text = hole("text", "text"),
        integer = hole("integer", "text"),
        integer_number = hole("integer", "number"),
        only_text = text("text"),
    );
    assert_eq!(
        rendered(&tree, r#"{"integer":7,"text":"é"}"#).unwrap(),
        concat!(
            r#"{"a\"":1.50,"text":"<\né>7","list":[null,"é",true],"thin":["é"],"none":[],"first":"é","#,
            r#""whole":{"x":"é","y":0},"part":{"x":"é","y":0},"gone":{"x":"é"},"kept":{"x":"é"},"bare":{}}"#
        )
    );
    assert_eq!(
        rendered(&tree, r#"{"integer":7}"#).unwrap(),
        r#"{"a\"":1.50,"list":[null,true],"none":[],"first":7,"part":{"y":0},"kept":{},"bare":{}}"#
    );
    assert_eq!(
        rendered(&tree, "{}").unwrap(),
        r#"{"a\"":1.50,"list":[null,true],"none":[],"first":0,"part":{"y":0},"kept":{},"bare":{}}"#
    );
}

/// A default stands in for a value, and gives way to one; an encoding looks at all its texts.
#[test]
fn defaults_and_encodings() {
    let encoding = r#"{"text":[{"sources":["tier","pass.serial"],"form":"encoding"}]}"#;
    let tree = format!(
        r#"{{"array":[{},{{"scalar":{}}},{encoding}]}}"#,
        text("tier"),
        hole("price", "money_object")
    );
    assert_eq!(
        rendered(&tree, "{}").unwrap(),
        r#"["Gold\"",{"amount":"12.50","currencyCode":"EUR"},"iso-8859-1"]"#
    );
    assert_eq!(
        rendered(&tree, r#"{"price":[3,"JPY"],"tier":"☕"}"#).unwrap(),
        r#"["☕",{"amount":"3","currencyCode":"JPY"},"utf-8"]"#
    );
}

/// Built-ins come in order before the values, which cannot set them; the last of two values counts.
#[test]
fn built_ins_are_their_own() {
    let scalar = hole("voided", "boolean");
    let tree = format!(r#"{{"array":[{},{{"scalar":{scalar}}}]}}"#, text("pass.serial"));
    let document = document(&tree).unwrap();
    let batch = concat!(
        r#"["1",true,{}]"#,
        "\n",
        r#"["2",null,{"text":"x","text":"y"}]"#,
        "\n",
        " [ \"3\" , false , { } ] ",
    );
    let rendered = render(&document, batch.as_bytes()).unwrap();
    assert_eq!(rendered, [br#"["1",true]"#.as_slice(), br#"["2"]"#, br#"["3",false]"#]);
    let error = render(&document, br#"["1",null,{"voided":true}]"#).unwrap_err();
    assert_eq!(error.reason, Reason::UnknownSlot);
}

/// A bad line is refused by its number and what is bad about it; no message has a value in it.
#[test]
fn bad_lines_are_refused_by_name() {
    let tree = format!(r#"{{"array":[{},{}]}}"#, text("text"), text("needed"));
    for (line, reason, named) in [
        ("", Reason::UnreadablePassData, "line"),
        ("{}", Reason::UnreadablePassData, "line"),
        ("[", Reason::UnreadablePassData, "line"),
        ("[]", Reason::UnreadablePassData, "line"),
        (r#"["1",null]"#, Reason::UnreadablePassData, "line"),
        (r#"["1",null,[]]"#, Reason::UnreadablePassData, "line"),
        (r#"["1",null,{},1]"#, Reason::UnreadablePassData, "line"),
        (r#"["1",null,{}] x"#, Reason::UnreadablePassData, "line"),
        (r#"["1",null,{"needed""#, Reason::UnreadablePassData, "line"),
        (r#"["1",null,{7:8}]"#, Reason::UnreadablePassData, "line"),
        (r"[4711,null,{}]", Reason::WrongValue, "pass.serial is not a text"),
        (r#"["1","4711",{}]"#, Reason::WrongValue, "voided is not true or false"),
        (r#"["1",null,{"text":4711}]"#, Reason::WrongValue, r#"values["text"] is not a text"#),
        (r#"["1",null,{"text":null}]"#, Reason::WrongValue, r#"values["text"] is not a text"#),
        (r#"["1",null,{"money":[4711,"XXX"]}]"#, Reason::WrongValue, r#"values["money"]"#),
        (r#"["1",null,{"integer":"4711"}]"#, Reason::WrongValue, r#"values["integer"]"#),
        (r#"["1",null,{"nobody":4711}]"#, Reason::UnknownSlot, r#"values["nobody"]"#),
        (r#"["1",null,{"text":"4711"}]"#, Reason::MissingValue, r#"values["needed"] is required"#),
        (r#"[null,null,{"text":"4711"}]"#, Reason::MissingValue, r#"values["needed"] is required"#),
    ] {
        let error = refusal(&tree, &format!("[\"0\",null,{{\"needed\":\"x\"}}]\n{line}\n"));
        assert_eq!((error.reason, error.item), (reason, Some(1)), "{line}");
        assert!(error.message.contains(named) && !error.message.contains("4711"), "{error}");
    }
    let long = format!(r#"["1",null,{{"{}":1}}]"#, "x".repeat(100_000));
    assert!(refusal(&tree, &long).message.len() < 200);
    let not_utf8 = render(&document(&tree).unwrap(), b"[\"\xff\",null,{}]").unwrap_err();
    assert_eq!(not_utf8.reason, Reason::UnreadablePassData);
}

/// What a document uses nothing of may be missing: only holes that are there need values.
#[test]
fn only_what_is_shown_is_required() {
    assert_eq!(rendered(&text("tier"), "{}").unwrap(), r#""Gold\"""#);
    let either = format!(r#"{{"first_of":[{},{}]}}"#, text("text"), text("needed"));
    assert_eq!(rendered(&either, r#"{"text":"x"}"#).unwrap(), r#""x""#);
    assert_eq!(refusal(&either, r#"["1",null,{}]"#).reason, Reason::MissingValue);
}

/// A document that leaves nothing, or too much, makes no pass.
#[test]
fn nothing_and_too_much_are_refused() {
    assert_eq!(refusal(&text("text"), r#"["1",null,{}]"#).reason, Reason::PassJsonSize);
    let texts = vec![text("text"); 1000].join(",");
    let line = format!(r#"["1",null,{{"text":"{}"}}]"#, "x".repeat(100_000));
    assert_eq!(refusal(&format!(r#"{{"array":[{texts}]}}"#), &line).reason, Reason::PassJsonSize);
}

/// A form goes with its kinds of values, between quotes or as a value of its own, and nowhere else.
#[test]
fn forms_fit_their_kinds_and_places() {
    let kinds = ["text", "url", "integer", "decimal", "money", "instant", "boolean"];
    for (form, fitting, is_text) in [
        ("text", kinds.as_slice(), true),
        ("url_component", &kinds, true),
        ("html", &kinds, true),
        ("date", &["instant"], true),
        ("currency", &["money"], true),
        ("encoding", &["text", "url"], true),
        ("number", &["integer", "decimal", "money"], false),
        ("boolean", &["boolean"], false),
        ("money_object", &["money"], false),
        ("nonsense", &[], true),
    ] {
        for kind in kinds {
            let in_text = document(&format!(r#"{{"text":[{}]}}"#, hole(kind, form)));
            assert_eq!(in_text.is_ok(), is_text && fitting.contains(&kind), "{form} of {kind}");
            let alone = document(&format!(r#"{{"scalar":{}}}"#, hole(kind, form)));
            assert_eq!(alone.is_ok(), !is_text && fitting.contains(&kind), "{form} of {kind}");
        }
    }
}

/// Whatever is wrong with a document, it is refused with a message that says where.
#[test]
fn bad_documents_are_refused() {
    for (node, named) in [
        ("null", "node"),
        ("{}", "no kind"),
        (r#"{"constant":"1","text":[]}"#, "two"),
        (r#"{"constant":1}"#, "constant"),
        (r#"{"constant":"1,2"}"#, "constant"),
        (r#"{"constant":"NaN"}"#, "constant"),
        (r#"{"text":"x"}"#, "text"),
        (r#"{"text":[1]}"#, "hole"),
        (r#"{"scalar":{"sources":[],"form":"number"}}"#, "number"),
        (r#"{"scalar":{"sources":["nobody"],"form":"number"}}"#, "nobody"),
        (r#"{"text":[{"sources":["text","url"],"form":"text"}]}"#, "text"),
        (r#"{"text":[{"sources":[],"form":"encoding"}]}"#, "encoding"),
        (r#"{"array":{}}"#, "array"),
        (r#"{"object":[["x"]],"whole":[],"keep":true}"#, "member"),
        (r#"{"object":[[1,{"constant":"1"}]],"whole":[],"keep":true}"#, "name"),
        (r#"{"object":[],"whole":["x"],"keep":true}"#, "\"x\""),
        (r#"{"object":[],"whole":[]}"#, "keep"),
    ] {
        let error = document(node).unwrap_err();
        assert_eq!(error.reason, Reason::UnreadableDocument);
        assert!(error.message.contains(named), "{node}: {error}");
    }
    let source = |source: &str| {
        let json = format!(
            r#"{{"built_ins":[],"slots":[{source}],"decimals":{{}},"document":{{"constant":"1"}}}}"#
        );
        Document::from_json(json.as_bytes()).map(|_| ())
    };
    let good = r#"{"name":"a","type":"text","required":true,"default":null}"#;
    assert_eq!(source(good), Ok(()));
    for bad in [
        "1",
        "{}",
        &good.replace("text", "colour"),
        &good.replace("null", "7"),
        &good.replace("true", "1"),
        &format!("{good},{good}"),
    ] {
        assert_eq!(source(bad).unwrap_err().reason, Reason::UnreadableDocument, "{bad}");
    }
    for bad in ["", "[]", "{}", "\u{feff}{}"] {
        let error = Document::from_json(bad.as_bytes()).unwrap_err();
        assert_eq!(error.reason, Reason::UnreadableDocument);
    }
}

/// Size and depth have an end, which stops no process.
#[test]
fn documents_are_limited() {
    let nested = |depth: usize| {
        let node = format!(
            "{}{}{}",
            r#"{"array":["#.repeat(depth),
            r#"{"constant":"1"}"#,
            "]}".repeat(depth)
        );
        document(&node).map(|_| ()).map_err(|error| error.reason)
    };
    assert_eq!(nested(60), Ok(()));
    assert_eq!(nested(100), Err(Reason::UnreadableDocument));
    assert_eq!(nested(100_000), Err(Reason::UnreadableDocument));
    let large = vec![b' '; MAX_DOCUMENT_BYTES + 1];
    let error = Document::from_json(&large).unwrap_err();
    assert!(error.message.contains("16777217 bytes"), "{error}");
}

/// However many kinds of passes there are, few layouts are kept, and each pass comes out right.
#[test]
fn layouts_do_not_grow_without_bound() {
    let names: Vec<String> = (0..70).map(|number| format!("s{number}")).collect();
    let slots: Vec<String> = names
        .iter()
        .map(|name| {
            format!(r#"{{"name":"{name}","type":"integer","required":false,"default":null}}"#)
        })
        .collect();
    let members: Vec<String> = names
        .iter()
        .map(|name| format!(r#"["{name}",{{"scalar":{}}}]"#, hole(name, "number")))
        .collect();
    let json = format!(
        r#"{{"built_ins":[],"slots":[{}],"decimals":{{}},
        "document":{{"object":[{}],"whole":[],"keep":true}}}}"#,
        slots.join(","),
        members.join(",")
    );
    let document = Document::from_json(json.as_bytes()).unwrap();
    let mut most = 0;
    for number in 0..3_000_u64 {
        // Different ones in both words of bits.
        let present = |at: usize| (number * 0x9e37_79b9) >> (at % 40) & 1 == 1;
        let values: Vec<String> =
            (0..70).filter(|at| present(*at)).map(|at| format!(r#""s{at}":{at}"#)).collect();
        let values = format!("{{{}}}", values.join(","));
        let rendered = render(&document, format!("[{values}]").as_bytes()).unwrap();
        assert_eq!(rendered, [values.as_bytes()]);
        most = most.max(document.kept_layouts());
    }
    assert_eq!(most, MAX_LAYOUTS);
}

/// Large layouts are let go long before there are many.
#[test]
fn large_layouts_are_let_go() {
    let tree = format!(
        r#"{{"array":[{{"constant":"\"{}\""}},{},{}]}}"#,
        "x".repeat(1024 * 1024),
        text("text"),
        text("url")
    );
    let tree = format!(
        r#"{{"array":[{tree},{},{{"scalar":{}}}]}}"#,
        text("tier"),
        hole("integer", "number")
    );
    let document = document(&tree).unwrap();
    let mut most = 0;
    for mask in 0..8 {
        let values = [r#""text":"x""#, r#""url":"x""#, r#""integer":1"#];
        let values: Vec<_> = values
            .iter()
            .enumerate()
            .filter(|(at, _)| mask >> at & 1 == 1)
            .map(|(_, v)| *v)
            .collect();
        let line = format!(r#"["1",null,{{{}}}]"#, values.join(","));
        render(&document, line.as_bytes()).unwrap();
        most = most.max(document.kept_layouts());
    }
    assert_eq!(most, 7);
}

/// Lines are what line feeds part; the last may have one.
#[test]
fn lines_are_parted() {
    assert!(lines(b"").is_empty());
    assert_eq!(lines(b"a"), [b"a"]);
    assert_eq!(lines(b"a\n"), [b"a"]);
    assert_eq!(lines(b"a\nb"), [b"a", b"b"]);
    assert_eq!(lines(b"a\n\n"), [b"a".as_slice(), b""]);
    assert_eq!(lines(b"\n"), [b""]);
}
