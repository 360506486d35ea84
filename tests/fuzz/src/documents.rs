//! The documents' parser, and the model that is made of what it reads.

use spillway::document;
use spillway::model::Model;

/// Whatever a file holds, it is a model or it has errors, and every error has a place in the file.
pub(crate) fn documents(bytes: &[u8]) {
    let contents = document::read("fuzz.yaml", bytes);
    let lines = bytes.split(|byte| *byte == b'\n').count();
    match Model::build([contents]) {
        Ok(model) => {
            for gateway in model.gateways.keys() {
                let problems = model.filter_configuration(gateway).problems();
                assert!(problems.is_empty(), "a proxy would refuse what was accepted: {problems:?}");
            }
        }
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty());
            for diagnostic in diagnostics {
                let text = diagnostic.to_string();
                assert!(text.contains("fuzz.yaml"), "{text}");
                assert!(text.len() < 100_000, "{} bytes about one error in {lines} lines", text.len());
            }
        }
    }
}
