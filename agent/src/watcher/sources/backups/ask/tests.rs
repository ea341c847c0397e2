use super::*;
use std::fs;

/// A backup of files in a folder, and the folder.
fn asked(more: &str) -> (tempfile::TempDir, Backup) {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "backups:\n- {{name: b, files: {{directory: {}, pattern: '*.tar'}}{more}}}\n",
        folder.path().display()
    );
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    (folder, config.backups.into_iter().next().expect("one"))
}

fn archive(folder: &Path, name: &str, content: &str) {
    fs::write(folder.join(name), content).expect("written");
    let read = manifest::check(&folder.join(name), 0, &AtomicBool::new(false)).expect("read");
    fs::write(folder.join(format!("{name}.sha256")), format!("{}  {name}\n", read.sha256)).expect("written");
}

#[tokio::test]
async fn answers_about_files() {
    let (folder, backup) = asked(", keep: {max: 1}");
    let memory = tempfile::tempdir().expect("a folder");
    let asked = Asked { backup: &backup, folder: memory.path().to_owned() };
    let is = async |question| asked.answer(question).await.expect("it can be told").is_ok();
    for question in [Question::Fresh, Question::Intact, Question::Verify, Question::Kept] {
        assert!(!is(question).await, "there is none: {question:?}");
    }
    let mut block = vec![0_u8; 512];
    block[257..262].copy_from_slice(b"ustar");
    archive(folder.path(), "1.tar", &String::from_utf8(block.clone()).expect("text"));
    for question in [Question::Fresh, Question::Intact, Question::Verify, Question::Kept, Question::Few] {
        assert!(is(question).await, "{question:?}");
    }
    // Another byte, and the same checksum.
    block[0] = 1;
    fs::write(folder.path().join("1.tar"), &block).expect("written");
    assert!(!is(Question::Intact).await, "what was read before is not believed when the file has changed");
    assert!(!is(Question::Verify).await);
    fs::write(folder.path().join("1.tar"), "no tar").expect("written");
    assert!(!is(Question::Intact).await);
    archive(folder.path(), "2.tar", "x");
    assert!(!is(Question::Few).await, "one is to be kept");
    assert!(asked.answer(Question::Drill).await.is_err(), "it has no drill");
    assert!(is(Question::Idle).await && !is(Question::Stalled).await);
}

#[tokio::test]
async fn what_was_read_is_believed_until_it_changes() {
    let (folder, backup) = asked("");
    let mut block = vec![0_u8; 512];
    block[257..262].copy_from_slice(b"ustar");
    archive(folder.path(), "1.tar", &String::from_utf8(block).expect("text"));
    let memory = tempfile::tempdir().expect("a folder");
    let asked = Asked { backup: &backup, folder: memory.path().to_owned() };
    assert!(asked.answer(Question::Intact).await.expect("told").is_ok());
    let kept = asked.remembered();
    assert_eq!(kept.files.len(), 1);
    // A memory that says otherwise is what counts as long as the file is the same.
    let mut wrong = kept;
    wrong.files.values_mut().for_each(|checked| checked.sha256 = "0".repeat(64));
    asked.remember(&wrong);
    assert!(asked.answer(Question::Intact).await.expect("told").is_err());
    assert!(asked.answer(Question::Verify).await.expect("told").is_ok(), "this one reads anew");
}
