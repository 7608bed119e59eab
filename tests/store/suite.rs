//! What every database does, whichever it is.

use std::collections::BTreeSet;

use tureen::auth::Key;
use tureen::store::{
    Change, Changed, Decided, Draft, Edit, Held, KeptRollout, NewKey, NewReview, Outcome, Pair, Profile, Status, Store,
    StoreError, UserId, Words,
};
use tureen_engine::Message;
use tureen_soup::MergeOptions;

/// Everything, each part with an owner of its own.
pub(crate) async fn all(store: &Store) {
    a_profile_is_created_updated_and_deleted(store).await;
    what_is_refused_changes_nothing(store).await;
    every_bit_of_a_weight_is_kept(store).await;
    no_update_is_lost(store).await;
    a_change_sent_again_is_done_once(store).await;
    a_change_sent_at_once_is_done_once(store).await;
    owners_do_not_see_each_other(store).await;
    pages_are_ordered_by_bytes(store).await;
    erasing_leaves_nothing(store).await;
    pairs_are_left_once_bounded_and_forgotten(store).await;
    answers_are_kept_by_request_and_forgotten(store).await;
    keys_are_listed_and_revoked(store).await;
    what_is_held_is_decided_once(store).await;
    a_rollout_is_kept(store).await;
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn draft(preference: &str) -> Draft {
    Draft { preference: preference.parse().unwrap(), merge: MergeOptions::default(), learned: None }
}

fn change<'a>(owner: &'a str, user: &'a UserId, client_key: Option<&'a str>, what: &str) -> Change<'a> {
    Change { owner, user, client_key, fingerprint: what.to_owned(), pair: None }
}

pub(crate) async fn try_put(store: &Store, owner: &str, name: &str, preference: &str) -> Result<Changed, StoreError> {
    store.change(&change(owner, &user(name), None, preference), |_| Ok(Edit::Put(draft(preference)))).await
}

pub(crate) async fn put(store: &Store, owner: &str, name: &str, preference: &str) -> Outcome {
    try_put(store, owner, name, preference).await.unwrap().outcome
}

async fn get(store: &Store, owner: &str, name: &str) -> Option<Profile> {
    store.profile(owner, &user(name)).await.unwrap()
}

async fn a_profile_is_created_updated_and_deleted(store: &Store) {
    let owner = "lifecycle";
    assert_eq!(get(store, owner, "u").await, None);
    let Outcome::Created(first) = put(store, owner, "u", "a=0.5,b=0.5").await else { panic!("it was new") };
    assert_eq!(get(store, owner, "u").await, Some(first.clone()));
    let Outcome::Updated(second) = put(store, owner, "u", "b=1").await else { panic!("it was there") };
    assert_ne!(second.etag, first.etag);
    assert_eq!(second.created_at, first.created_at);
    assert!(second.updated_at >= first.updated_at);
    assert_eq!(second.draft, draft("b=1"));
    assert_eq!(get(store, owner, "u").await, Some(second.clone()));
    let name = user("u");
    let seen = |current: Option<&Profile>| {
        assert_eq!(current, Some(&second));
        Ok::<_, StoreError>(Edit::Delete)
    };
    assert_eq!(store.change(&change(owner, &name, None, ""), seen).await.unwrap().outcome, Outcome::Deleted);
    assert_eq!(get(store, owner, "u").await, None);
    let Outcome::Created(again) = put(store, owner, "u", "b=1").await else { panic!("it is new again") };
    assert_ne!(again.etag, second.etag, "a tag never comes back");
}

async fn what_is_refused_changes_nothing(store: &Store) {
    let name = user("u");
    put(store, "refused", "u", "a=1").await;
    let before = get(store, "refused", "u").await;
    let refuse = |_: Option<&Profile>| Err(StoreError::NotSupported("refused"));
    let error = store.change(&change("refused", &name, Some("k"), ""), refuse).await.unwrap_err();
    assert!(matches!(error, StoreError::NotSupported("refused")));
    assert_eq!(get(store, "refused", "u").await, before);
    let done = store.change(&change("refused", &name, Some("k"), ""), |_| Ok::<_, StoreError>(Edit::Delete)).await;
    assert!(!done.unwrap().replayed, "what was refused is not remembered");
}

async fn every_bit_of_a_weight_is_kept(store: &Store) {
    let weights = [1.0 / 3.0, 0.1 + 0.2, 5e-324, f64::MAX, 0.0, 1e22, 123_456_789.123_456_78];
    let pairs = weights.iter().enumerate().map(|(i, w)| (format!("p{i}"), *w));
    let preference = tureen_soup::Preference::from_pairs(pairs).unwrap();
    put(store, "bits", "u", &preference.to_string()).await;
    let kept = get(store, "bits", "u").await.unwrap().draft.preference;
    let bits = |p: &tureen_soup::Preference| p.iter().map(|(_, w)| w.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&kept), bits(&preference));
}

async fn no_update_is_lost(store: &Store) {
    put(store, "lost", "u", "a=1").await;
    let count = async |_: u32| {
        let name = user("u");
        let more = |current: Option<&Profile>| {
            let (_, weight) = current.unwrap().draft.preference.iter().next().unwrap();
            Ok::<_, StoreError>(Edit::Put(draft(&format!("a={}", weight + 1.0))))
        };
        // Whoever was overtaken too often is told so, and nothing was done.
        while let Err(error) = store.change(&change("lost", &name, None, ""), more).await {
            assert!(matches!(error, StoreError::Contended), "{error}");
        }
    };
    futures_util::future::join_all((0..24).map(count)).await;
    assert_eq!(get(store, "lost", "u").await.unwrap().draft, draft("a=25"));
}

async fn a_change_sent_again_is_done_once(store: &Store) {
    let owner = "again";
    let name = user("u");
    let send = async |key: &str, what: &str| {
        store.change(&change(owner, &name, Some(key), what), |_| Ok::<_, StoreError>(Edit::Put(draft(what)))).await
    };
    let first = send("k-1", "a=1").await.unwrap();
    send("k-2", "a=2").await.unwrap();
    let again = send("k-1", "a=1").await.unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(again.outcome, first.outcome);
    assert_eq!(get(store, owner, "u").await.unwrap().draft, draft("a=2"), "it was not done again");
    assert!(matches!(send("k-1", "a=3").await.unwrap_err(), StoreError::ClientKeyReused));
    let elsewhere = change("again-2", &name, Some("k-1"), "x");
    let other = store.change(&elsewhere, |_| Ok::<_, StoreError>(Edit::Put(draft("a=3"))));
    assert!(!other.await.unwrap().replayed, "another owner's key is another key");
    assert!(store.forget_changes(-1000).await.unwrap() >= 3);
    assert!(!send("k-1", "a=3").await.unwrap().replayed, "what was forgotten can be done again");
    assert_eq!(store.forget_changes(1_000_000).await.unwrap(), 0, "what is young is not forgotten");
}

async fn a_change_sent_at_once_is_done_once(store: &Store) {
    let send = async |_: u32| {
        let name = user("u");
        let put = |_: Option<&Profile>| Ok::<_, StoreError>(Edit::Put(draft("a=1")));
        let Changed { outcome, replayed } =
            store.change(&change("at-once", &name, Some("k"), "a=1"), put).await.unwrap();
        let Outcome::Created(profile) = outcome else { panic!("each one is told of the first") };
        (profile.etag, replayed)
    };
    let done = futures_util::future::join_all((0..16).map(send)).await;
    assert_eq!(done.iter().filter(|(_, replayed)| !replayed).count(), 1);
    assert_eq!(done.iter().map(|(etag, _)| etag).collect::<BTreeSet<_>>().len(), 1);
}

async fn owners_do_not_see_each_other(store: &Store) {
    put(store, "owner-a", "u", "a=1").await;
    assert_eq!(get(store, "owner-b", "u").await, None);
    let Outcome::Created(_) = put(store, "owner-b", "u", "b=1").await else { panic!("the name is free there") };
    assert_eq!(get(store, "owner-a", "u").await.unwrap().draft, draft("a=1"));
    assert_eq!(store.users("owner-a", None, 10).await.unwrap().users.len(), 1);
}

async fn pages_are_ordered_by_bytes(store: &Store) {
    let mut names = ["b", "B", "a", "ä", "a-1", "a_1", "10", "9", "z", "\u{1f600}"];
    for name in names {
        put(store, "pages", name, "a=1").await;
    }
    names.sort_unstable();
    for limit in 1..=11 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.users("pages", after.as_ref(), limit).await.unwrap();
            assert!(page.users.len() <= limit as usize);
            seen.extend(page.users.iter().map(|(name, _)| name.clone()));
            if !page.more {
                break;
            }
            after = seen.last().map(|name: &String| user(name));
        }
        assert_eq!(seen, names, "{limit} on a page");
    }
}

async fn erasing_leaves_nothing(store: &Store) {
    let name = user("u");
    let keep = |key| change("erase", &name, Some(key), "");
    for key in ["k-1", "k-2"] {
        store.change(&keep(key), |_| Ok::<_, StoreError>(Edit::Put(draft("a=1")))).await.unwrap();
    }
    put(store, "erase", "other", "a=1").await;
    let erased = store.erase("erase", &name).await.unwrap();
    assert_eq!((erased.profiles, erased.changes, erased.pairs), (1, 2, 0));
    assert_eq!(get(store, "erase", "u").await, None);
    assert!(get(store, "erase", "other").await.is_some());
    let again = store.erase("erase", &name).await.unwrap();
    assert_eq!((again.profiles, again.changes), (0, 0));
}

async fn pairs_are_left_once_bounded_and_forgotten(store: &Store) {
    let pair = |n: usize| Pair {
        prompt: vec![Message { role: "user".into(), content: "why?\n\"\u{1f600}\"".into() }],
        chosen: format!("chosen {n}"),
        rejected: "rejected".into(),
    };
    let leave = async |name: &str, key: Option<&str>, n: usize| {
        let (user, pair) = (user(name), pair(n));
        let change = Change { pair: Some(&pair), ..change("pairs", &user, key, "") };
        store.change(&change, |_| Ok::<_, StoreError>(Edit::Put(draft("a=1")))).await.unwrap()
    };
    for _ in 0..2 {
        leave("u", Some("k"), 0).await;
    }
    leave("other", None, 1).await;
    let of = async |name: &str| -> Vec<Pair> {
        store.pairs_of("pairs", &user(name)).await.unwrap().into_iter().map(|kept| kept.pair).collect()
    };
    assert_eq!(of("u").await, [pair(0)]);
    for n in 2..1003 {
        leave("u", None, n).await;
    }
    let (kept, all) = (of("u").await, (3..1003).map(pair).collect::<Vec<_>>());
    assert_eq!(kept.len(), 1000);
    assert!(kept == all, "the oldest made way");
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.pairs("pairs", after.as_deref(), 1_000_000, 300).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        seen.extend(page.into_iter().map(|kept| kept.pair));
    }
    assert!(seen == [vec![pair(1)], all].concat(), "all of an owner's, in the order they came");
    assert!(store.pairs("pairs-2", None, 1_000_000, 10).await.unwrap().is_empty());
    assert!(store.pairs("pairs", None, -1000, 10).await.unwrap().is_empty(), "what is too old is not handed out");
    assert_eq!(store.erase("pairs", &user("u")).await.unwrap().pairs, 1000);
    assert_eq!(store.forget_pairs(1_000_000).await.unwrap(), 0, "what is young is not forgotten");
    assert_eq!(store.forget_pairs(-1000).await.unwrap(), 1);
    assert!(of("other").await.is_empty());
}

async fn answers_are_kept_by_request_and_forgotten(store: &Store) {
    let words = |answer: &str| Words {
        prompt: vec![Message { role: "user".into(), content: "why?".into() }],
        answer: answer.into(),
    };
    let (owner, name) = ("answers", user("u"));
    store.keep_answer(owner, "r-1", Some(&name), &words("first")).await.unwrap();
    store.keep_answer(owner, "r-2", None, &words("nobody's")).await.unwrap();
    store.keep_answer(owner, "r-1", Some(&name), &words("later")).await.unwrap();
    let find = async |owner: &str, request: &str| store.answer(owner, request, 60_000).await.unwrap();
    assert_eq!(find(owner, "r-1").await, Some(words("later")), "of one id the later is known");
    assert_eq!(find(owner, "r-2").await, Some(words("nobody's")));
    assert_eq!(find("answers-2", "r-1").await, None);
    assert_eq!(store.answer(owner, "r-1", -1000).await.unwrap(), None, "it is too old");
    let kept = store.answers_of(owner, &name).await.unwrap();
    assert_eq!((kept.len(), kept[0].request.as_str(), &kept[0].words), (1, "r-1", &words("later")));
    assert_eq!(store.erase(owner, &name).await.unwrap().answers, 1);
    assert_eq!(find(owner, "r-1").await, None);
    assert_eq!(store.forget_answers(1_000_000).await.unwrap(), 0, "what is young is not forgotten");
    assert_eq!(store.forget_answers(-1000).await.unwrap(), 1);
    assert_eq!(find(owner, "r-2").await, None);
}

async fn keys_are_listed_and_revoked(store: &Store) {
    let before = store.keys_revision().await.unwrap();
    let key = Key::generate();
    let new = NewKey {
        id: key.id().to_owned(),
        owner: "keys".to_owned(),
        name: "a name".to_owned(),
        secret_sha256: key.secret_sha256(),
        scopes: "generate,admin".to_owned(),
        rate_per_minute: Some(5),
        concurrency: None,
        rules: None,
        lasts_ms: Some(1000),
    };
    store.add_key(new).await.unwrap();
    let find = async || store.keys().await.unwrap().into_iter().find(|k| k.id == key.id()).unwrap();
    let stored = find().await;
    assert_eq!((stored.name.as_str(), stored.scopes.as_str()), ("a name", "generate,admin"));
    assert_eq!((stored.rate_per_minute, stored.concurrency), (Some(5), None));
    assert_eq!((stored.expires_at, stored.revoked_at), (Some(stored.created_at + 1000), None));
    let between = store.keys_revision().await.unwrap();
    assert!(store.revoke_key(key.id()).await.unwrap());
    assert!(find().await.revoked_at.is_some());
    assert!(!store.revoke_key(key.id()).await.unwrap());
    assert!(!store.revoke_key("no-such").await.unwrap());
    assert!(before < between && between < store.keys_revision().await.unwrap());
}

async fn what_is_held_is_decided_once(store: &Store) {
    let new = |who: Option<&str>, what: Held| NewReview {
        owner: "held".into(),
        user: who.map(user),
        request: "r".into(),
        checks: "a,b".into(),
        prompt: "[]".into(),
        what,
    };
    let input = |fingerprint: &str| Held::Input { fingerprint: fingerprint.into() };
    let first = store.hold(new(Some("u"), input("f")), 10).await.unwrap();
    assert_eq!(store.hold(new(None, input("f")), 10).await.unwrap(), first, "the same prompt is held once");
    // Asked at once from many sides, it is held once as well.
    let asked = (0..8).map(|_| store.hold(new(None, input("g")), 10));
    let asked = futures_util::future::join_all(asked).await;
    assert!(asked.iter().all(|held| held.as_ref().unwrap().id == asked[0].as_ref().unwrap().id));
    let answer = store.hold(new(None, Held::Output("with \0 in it".into())), 10).await.unwrap();
    assert!(first.id < answer.id);
    assert_eq!((answer.answer.as_deref(), answer.status, answer.user), (Some("with \0 in it"), Status::Pending, None));
    assert!(matches!(store.hold(new(None, Held::Output(String::new())), 3).await, Err(StoreError::Full)));
    let (page, more) = store.reviews("held", Status::Pending, "", 2).await.unwrap();
    assert_eq!((&page[0], page.len(), more), (&first, 2, true));
    let (rest, more) = store.reviews("held", Status::Pending, &page[1].id, 2).await.unwrap();
    assert_eq!((rest[0].id.as_str(), rest.len(), more), (answer.id.as_str(), 1, false));
    assert!(store.reviews("others", Status::Pending, "", 2).await.unwrap().0.is_empty());
    assert!(store.review("others", &first.id).await.unwrap().is_none());
    assert!(store.decide(("others", &first.id), Status::Approved, None).await.unwrap().is_none());
    // Of several people at once, one decides.
    let both = [Status::Approved, Status::Rejected, Status::Approved, Status::Rejected];
    let decided = both.map(|status| store.decide(("held", &first.id), status, Some("k")));
    let decided = futures_util::future::join_all(decided).await;
    let stands = store.review("held", &first.id).await.unwrap().unwrap();
    assert_ne!(stands.status, Status::Pending);
    assert_eq!(stands.decided_by.as_deref(), Some("k"));
    for (status, decided) in both.into_iter().zip(decided) {
        match decided.unwrap().unwrap() {
            Decided::Now(review) => assert_eq!((review.status, status), (stands.status, stands.status)),
            Decided::Otherwise(review) => assert_eq!((review.status, status != stands.status), (stands.status, true)),
        }
    }
    assert_eq!(store.reviews_of("held", &user("u")).await.unwrap(), [stands]);
    assert_eq!(store.erase("held", &user("u")).await.unwrap().reviews, 1);
    assert!(store.review("held", &first.id).await.unwrap().is_none());
    assert_eq!(store.forget_reviews(60_000).await.unwrap(), 0);
    assert_eq!(store.forget_reviews(-60_000).await.unwrap(), 2);
}

async fn a_rollout_is_kept(store: &Store) {
    let kept = |running: Option<&str>, last: Option<&str>| KeptRollout {
        running: running.map(str::to_owned),
        last: last.map(str::to_owned),
    };
    for each in [kept(None, None), kept(Some("{}"), None), kept(Some("{\"a\": 1}"), Some("{}")), kept(None, Some("{}"))]
    {
        store.keep_rollout(each.clone()).await.unwrap();
        assert_eq!(store.rollout().await.unwrap(), each);
    }
}
