//! Playbooks and what they answer, kept together.

use super::*;

#[test]
fn what_answers_a_kind_follows_the_library() {
    let mut told = Told::new();
    let known = |told: &Told| told.state.answers.len();
    let before = known(&told);
    told.retire("asked");
    assert_eq!(known(&told), before - 1);
    told.install(playbook("auto", "down", "auto", 2));
    assert_eq!(known(&told), before - 1);
}
