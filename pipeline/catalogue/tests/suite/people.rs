//! Accounts, users, passwords, sessions and links.

use castback_catalogue::CatalogueError;
use castback_catalogue::people::NewUser;
use castback_catalogue::sessions::{LinkPurpose, SESSION_LIFE};
use castback_schemas::time::{HOUR, SECOND};
use castback_schemas::{Micros, Topic};

use crate::harness::NOON;

fn ada(email: &str) -> NewUser {
    NewUser { email: email.to_owned(), password: "analytical".into(), name: "Ada".to_owned() }
}

on_every_database! {
    async fn the_first_value_of_an_account_is_noted_once(house) {
        let (ada, bob) = (house.account("ada").await, house.account("bob").await);
        house.clock.advance(SECOND);
        for (account, first) in [(ada, true), (ada, false), (bob, true)] {
            let made = house.catalogue.note_first_value(account).await.unwrap();
            assert_eq!(made, first.then_some(NOON));
        }
    }

    async fn signing_up_makes_all_or_nothing(house) {
        let catalogue = &house.catalogue;
        let signed = catalogue.sign_up(ada("Ada@Example.com")).await.unwrap();
        assert_eq!(signed.tier, "free");
        assert_eq!(catalogue.account(signed.user.account).await.unwrap().tier, "free");
        let caller = catalogue.authenticate(&signed.api_key).await.unwrap().unwrap();
        assert_eq!((caller.account, caller.user, caller.operator), (signed.user.account, signed.user.id, false));
        let accounts = house.number("SELECT COUNT(*) FROM accounts").await;
        assert!(matches!(catalogue.sign_up(ada("ADA@example.COM ")).await, Err(CatalogueError::InUse("email"))));
        assert_eq!(house.number("SELECT COUNT(*) FROM accounts").await, accounts);
        let events = catalogue.outbox_batch("relay", 10).await.unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].topic, events[0].body["kind"].as_str()), (Topic::UserChanges, Some("user_created")));
        assert_eq!(events[0].key, signed.user.id.to_string());
    }

    async fn only_the_right_password_signs_in(house) {
        let catalogue = &house.catalogue;
        let signed = catalogue.sign_up(ada("ada@example.com")).await.unwrap();
        assert_eq!(catalogue.sign_in("ada@example.com", "wrong".into()).await.unwrap(), None);
        assert_eq!(catalogue.sign_in("bob@example.com", "analytical".into()).await.unwrap(), None);
        let (user, token) = catalogue.sign_in("ADA@example.com", "analytical".into()).await.unwrap().unwrap();
        assert_eq!(user, signed.user);
        assert_eq!(catalogue.session(&token).await.unwrap().unwrap().user, user.id);
        catalogue.set_password(user.account, user.id, "engine".into()).await.unwrap();
        assert_eq!(catalogue.session(&token).await.unwrap(), None, "a new password ends sessions");
        assert!(catalogue.sign_in("ada@example.com", "engine".into()).await.unwrap().is_some());
    }

    async fn a_cut_off_is_only_raised(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        assert_eq!(catalogue.kept_from(account).await.unwrap(), Micros(0));
        for (from, kept) in [(5, 5), (3, 5), (7, 7)] {
            catalogue.keep_from(account, Micros(from)).await.unwrap();
            assert_eq!(catalogue.kept_from(account).await.unwrap(), Micros(kept));
        }
        catalogue.cleaned(account, Micros(7)).await.unwrap();
        let kept = catalogue.kept().await.unwrap().into_iter().find(|kept| kept.account == account).unwrap();
        assert_eq!((kept.kept_from, kept.cleaned_to, kept.tier.as_str()), (Micros(7), Micros(7), "free"));
    }

    async fn sessions_end(house) {
        let catalogue = &house.catalogue;
        let user = catalogue.sign_up(ada("ada@example.com")).await.unwrap().user.id;
        let token = catalogue.create_session(user).await.unwrap();
        let other = catalogue.create_session(user).await.unwrap();
        catalogue.end_session(&token).await.unwrap();
        assert_eq!(catalogue.session(&token).await.unwrap(), None);
        assert!(catalogue.session(&other).await.unwrap().is_some());
        house.clock.advance(SESSION_LIFE);
        assert_eq!(catalogue.session(&other).await.unwrap(), None);
        catalogue.prune_sessions().await.unwrap();
        assert_eq!(house.number("SELECT COUNT(*) FROM sessions").await, 0);
    }

    async fn a_link_is_good_once_for_its_purpose_and_time(house) {
        let catalogue = &house.catalogue;
        let user = catalogue.sign_up(ada("ada@example.com")).await.unwrap().user;
        let link = catalogue.create_link(user.id, LinkPurpose::Login).await.unwrap();
        assert_eq!(catalogue.redeem_link(&link, LinkPurpose::PasswordReset).await.unwrap(), None);
        let session = catalogue.redeem_login_link(&link).await.unwrap().unwrap();
        assert_eq!(catalogue.session(&session).await.unwrap().unwrap().user, user.id);
        assert_eq!(catalogue.redeem_login_link(&link).await.unwrap(), None);

        let late = catalogue.create_link(user.id, LinkPurpose::PasswordReset).await.unwrap();
        house.clock.advance(HOUR);
        assert_eq!(catalogue.redeem_link(&late, LinkPurpose::PasswordReset).await.unwrap(), None);

        let proof = catalogue.create_link(user.id, LinkPurpose::EmailVerification).await.unwrap();
        assert_eq!(catalogue.redeem_link(&proof, LinkPurpose::EmailVerification).await.unwrap(), Some((user.account, user.id)));
        assert!(catalogue.user(user.account, user.id).await.unwrap().email_verified_at.is_some());
    }

    async fn operators_are_named_by_address(house) {
        let catalogue = &house.catalogue;
        let signed = catalogue.sign_up(ada("ada@example.com")).await.unwrap();
        assert!(!catalogue.add_operator("bob@example.com").await.unwrap());
        assert!(catalogue.add_operator("Ada@example.com").await.unwrap());
        assert!(catalogue.authenticate(&signed.api_key).await.unwrap().unwrap().operator);
    }

    async fn an_erased_person_leaves_no_name_address_or_key(house) {
        let catalogue = &house.catalogue;
        let signed = catalogue.sign_up(ada("ada@example.com")).await.unwrap();
        let (account, user) = (signed.user.account, signed.user.id);
        let token = catalogue.create_session(user).await.unwrap();
        catalogue.create_link(user, LinkPurpose::Login).await.unwrap();
        catalogue.erase_user(account, user).await.unwrap();
        assert_eq!(catalogue.authenticate(&signed.api_key).await.unwrap(), None);
        assert_eq!(catalogue.session(&token).await.unwrap(), None);
        assert!(catalogue.members(account).await.unwrap().is_empty());
        assert_eq!(catalogue.user_by_email("ada@example.com").await.unwrap(), None);
        catalogue.sign_up(ada("ada@example.com")).await.unwrap();
    }

    async fn members_share_an_account(house) {
        let catalogue = &house.catalogue;
        let first = catalogue.sign_up(ada("ada@example.com")).await.unwrap().user;
        house.clock.advance(1);
        let second = catalogue.add_member(first.account, ada("bob@example.com")).await.unwrap();
        assert_eq!(catalogue.members(first.account).await.unwrap(), [first.clone(), second.clone()]);
        assert_eq!(catalogue.rename_user(first.account, second.id, "Bob").await.unwrap().name, "Bob");
        catalogue.set_tier(first.account, first.id, "starter").await.unwrap();
        assert_eq!(catalogue.account(first.account).await.unwrap().tier, "starter");
        let events = catalogue.outbox_batch("relay", 10).await.unwrap();
        assert_eq!(events.last().unwrap().body["subscription_tier"], "starter");
    }
}
