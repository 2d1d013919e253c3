"""Mutations: what an edit of the running configuration must not do."""

from mutation import Mutation

MUTATIONS = [
    Mutation(
        "edit-taken-as-it-comes", "control/config/edit.cpp",
        "if (tree && yaml::is_same(*tree, meant)) return",
        "if (tree && (yaml::is_same(*tree, meant) || !text_.empty())) return",
        "a value is put where it changes other keys, or leaves a part of the old one behind",
        "control_test:Edit.*"),
    Mutation(
        "edit-of-what-needs-a-restart", "control/daemon/reload_load.cpp",
        "job.edit && !keys.empty()",
        "job.edit && keys.size() > 99",
        "an operator is told that a key is changed, and the daemon goes on with the old value",
        "control_test:ReloadEdit.*"),
    Mutation(
        "edit-reads-all-lists", "control/daemon/reload_load.cpp",
        "if (!job.edit || has_other_rules(running.live, config->live)) {",
        "if (!job.edit || has_other_rules(running.live, config->live) || !document.text.empty()) {",
        "each change of a limit costs the reading of millions of names",
        "control_test:ReloadEdit.ListsAre*"),
    Mutation(
        "save-over-another-hand", "control/config/document.cpp",
        "if (*now != document.file) {",
        "if (now->empty()) {",
        "what somebody wrote into the file meanwhile is gone",
        "control_test:SaveTest.*"),
    Mutation(
        "save-loses-comments", "control/config/document.cpp",
        "if (!document.lost.empty()) {",
        "if (document.lost.size() > 99) {",
        "comments of the file are gone",
        "control_test:SaveTest.*"),
]
