//! API keys and keys of keyed hashes.

use castback_catalogue::Paging;
use castback_catalogue::hash_keys::{KEY_LIFE, MonthKey};
use castback_catalogue::keys::{Credential, KeyKind, NewKey};
use castback_schemas::time::DAY;

use crate::harness::NOON;

on_every_database! {
    async fn a_key_is_its_users_until_it_is_revoked(house) {
        let catalogue = &house.catalogue;
        let user = house.person("ada").await.user;
        house.clock.advance(1);
        let new = NewKey { kind: KeyKind::Secret, label: "laptop".to_owned() };
        let (shown, key) = catalogue.create_api_key(user.account, user.id, new).await.unwrap();
        assert_eq!(catalogue.authenticate(&key).await.unwrap().unwrap().credential, Credential::Key(shown.id, KeyKind::Secret));
        assert_eq!(catalogue.api_keys(user.account, &Paging::default()).await.unwrap().items[0], shown);
        catalogue.revoke_api_key(user.account, shown.id).await.unwrap();
        catalogue.revoke_api_key(user.account, shown.id).await.unwrap();
        assert_eq!(catalogue.authenticate(&key).await.unwrap(), None);
        assert!(catalogue.api_keys(user.account, &Paging::default()).await.unwrap().items[0].revoked_at.is_some());
        for wrong in ["", "cb_", "cb_pub_", "Bearer", &key[1..]] {
            assert_eq!(catalogue.authenticate(wrong).await.unwrap(), None, "{wrong}");
        }
    }

    async fn a_publishable_key_knows_its_origins_and_is_no_operator(house) {
        let catalogue = &house.catalogue;
        let user = house.person("ada").await.user;
        catalogue.add_operator(&user.email).await.unwrap();
        let kind = KeyKind::Publishable { origins: vec!["https://shop.example.com".to_owned()] };
        let new = NewKey { kind: kind.clone(), label: "shop".to_owned() };
        let (shown, key) = catalogue.create_api_key(user.account, user.id, new).await.unwrap();
        assert!(key.starts_with("cb_pub_"));
        let caller = catalogue.authenticate(&key).await.unwrap().unwrap();
        assert_eq!(caller.credential, Credential::Key(shown.id, kind));
        assert!(!caller.operator);
    }

    async fn secrets_are_not_stored(house) {
        let signed = house.person("ada").await;
        let stored = house.number("SELECT COUNT(*) FROM api_keys WHERE secret_hash LIKE 'cb%' OR label LIKE 'cb%'").await;
        assert_eq!(stored, 0);
        assert!(!format!("{:?}", signed.user).contains("example.com"));
    }

    async fn a_hash_key_is_made_once(house) {
        let account = house.account("ada").await;
        let other = house.neighbour(2).await;
        let (first, second) = tokio::join!(house.catalogue.account_key(account), other.account_key(account));
        assert_eq!(first.unwrap(), second.unwrap());
        let month = NOON.day().month();
        let (first, second) = tokio::join!(house.catalogue.month_key(month), other.month_key(month));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(first, second);
        assert_ne!(first, house.catalogue.month_key(month.previous()).await.unwrap());
    }

    async fn a_months_key_dies_after_its_last_record_and_never_comes_back(house) {
        let catalogue = &house.catalogue;
        let month = NOON.day().month();
        let key = catalogue.month_key(month).await.unwrap();
        let touched = NOON.plus(45 * DAY);
        catalogue.touch_month(month, touched).await.unwrap();
        catalogue.touch_month(month, NOON).await.unwrap();
        assert!(catalogue.expire_keys(touched.plus(KEY_LIFE)).await.unwrap().is_empty());
        assert_eq!(catalogue.month_key(month).await.unwrap(), key);
        assert_eq!(catalogue.expire_keys(touched.plus(KEY_LIFE + 1)).await.unwrap(), [month]);
        assert_eq!(catalogue.month_key(month).await.unwrap(), MonthKey::Dead);
        assert!(catalogue.expire_keys(touched.plus(KEY_LIFE + 1)).await.unwrap().is_empty());
        assert_eq!(house.neighbour(2).await.month_key(month).await.unwrap(), MonthKey::Dead);
    }

    async fn a_month_in_use_lives_to_its_end_and_ninety_seven_days(house) {
        let month = NOON.day().month();
        house.catalogue.month_key(month).await.unwrap();
        let end = castback_schemas::Month(month.0 + 1).first_day().start();
        assert!(house.catalogue.expire_keys(end.plus(KEY_LIFE)).await.unwrap().is_empty());
        assert_eq!(house.catalogue.expire_keys(end.plus(KEY_LIFE + 1)).await.unwrap(), [month]);
    }

    async fn an_erased_accounts_key_is_gone_for_good(house) {
        let account = house.account("ada").await;
        house.catalogue.account_key(account).await.unwrap();
        house.catalogue.destroy_account_key(account).await.unwrap();
        assert!(house.catalogue.account_key(account).await.is_err());
    }
}
