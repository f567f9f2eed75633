package bundle

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func sortedNames(files map[string][]byte) []string { return slices.Sorted(maps.Keys(files)) }

func TestThresholds(t *testing.T) {
	ci, human, other := testKey(t, Ed25519), testKey(t, ES256), testKey(t, Ed25519)
	w := newWorld(t)
	w.trust = testTrust(t, func(f *TrustFile) {
		f.Environments = map[string]Thresholds{"prod": {Release: 2}}
	}, trustKey(t, ci, RoleRelease), trustKey(t, human, RoleRelease, "prod"), trustKey(t, other, RoleRelease, "staging"), trustKey(t, w.channel, RoleChannel))
	for _, c := range []struct {
		name string
		keys []*PrivateKey
		want Reason
	}{
		{"two of two", []*PrivateKey{ci, human}, ""},
		{"one of two", []*PrivateKey{ci}, SignatureMissing},
		{"same signer twice", []*PrivateKey{ci, ci}, SignatureMissing},
		{"second for another environment", []*PrivateKey{ci, other}, KeyNotAllowed},
		{"second for another role", []*PrivateKey{ci, w.channel}, KeyNotAllowed},
		{"two, and one for another environment", []*PrivateKey{ci, human, other}, ""},
		{"none", nil, SignatureMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := w.bundle.Raw()
			raw.Manifest = w.sealManifest(t, nil, c.keys...)
			if _, err := Verify(raw, w.check()); refusal(err) != c.want {
				t.Errorf("Verify: %v, want %q", err, c.want)
			}
		})
	}
	raw := w.bundle.Raw()
	raw.Manifest = w.sealManifest(t, func(m *Manifest) { m.Environment = "dev" }, ci)
	check := w.check()
	check.Environment = "dev"
	if _, err := Verify(raw, check); err != nil {
		t.Errorf("the threshold of prod must not hold elsewhere: %v", err)
	}
}

func TestTrustFile(t *testing.T) {
	key := testKey(t, Ed25519)
	good := string(must(TrustFile{Keys: []TrustKey{trustKey(t, key, RoleRelease, "prod")}}.Encode())(t))
	if _, err := ParseTrust([]byte(good)); err != nil {
		t.Fatal(err)
	}
	other := testKey(t, ES256)
	entry := good[strings.Index(good, "    {") : strings.LastIndex(good, "    }")+5]
	for _, c := range []struct{ name, data, want string }{
		{"empty", ``, "too early"},
		{"no keys", `{"schema":"gateway.suuupra.dev/trust/v1","keys":[]}`, "lists no keys"},
		{"other schema", strings.Replace(good, "trust/v1", "trust/v2", 1), `must be "gateway.suuupra.dev/trust/v1"`},
		{"unknown member", strings.Replace(good, `"keys"`, `"insecure":true,"keys"`, 1), "unknown field"},
		{"unknown member of a key", strings.Replace(good, `"algorithm"`, `"expires":1,"algorithm"`, 1), "unknown field"},
		{"member in other case", strings.Replace(good, `"keys"`, `"Keys"`, 1), `unknown member "Keys"`},
		{"member of a key in other case", strings.Replace(good, `"roles"`, `"Roles"`, 1), `unknown member "Roles"`},
		{"repeated member", strings.Replace(good, `"roles"`, `"roles":["channel"],"roles"`, 1), "stands twice"},
		{"second value", good + `{}`, "more than one value"},
		{"id of another key", strings.Replace(good, key.Public().ID(), other.Public().ID(), 1), "the thumbprint of its public key is"},
		{"no id", strings.Replace(good, key.Public().ID(), "", 1), "the thumbprint of its public key is"},
		{"other algorithm", strings.Replace(good, `"Ed25519"`, `"ES256"`, 1), "its public key is for Ed25519"},
		{"algorithm none", strings.Replace(good, `"Ed25519"`, `"none"`, 1), "its public key is for Ed25519"},
		{"unknown role", strings.Replace(good, `"release"`, `"root"`, 1), `role "root"`},
		{"no role", strings.Replace(good, `"release"`, ``, 1), "must not be empty"},
		{"no environment", strings.Replace(good, `"prod"`, ``, 1), "must not be empty"},
		{"environment pattern", strings.Replace(good, `"prod"`, `"pr*"`, 1), "not the name of an environment"},
		{"key twice", strings.Replace(good, entry, entry+","+entry, 1), "listed twice"},
		{"public key cut", strings.Replace(good, `"publicKey": "M`, `"publicKey": "`, 1), "public key"},
		{"negative threshold", strings.Replace(good, `"keys"`, `"thresholds":{"release":-1},"keys"`, 1), "between 1 and 16"},
		{"threshold of nothing", strings.Replace(good, `"keys"`, `"thresholds":{"release":0},"keys"`, 1), "between 1 and 16"},
		{"threshold of null", strings.Replace(good, `"keys"`, `"thresholds":{"channel":null},"keys"`, 1), "between 1 and 16"},
		{"threshold of nothing for one environment", strings.Replace(good, `"keys"`, `"environments":{"prod":{"release":0}},"keys"`, 1), "between 1 and 16"},
		{"threshold of too many", strings.Replace(good, `"keys"`, `"environments":{"prod":{"release":2}},"keys"`, 1), "2 release signatures are needed, 1 keys"},
		{"threshold as text", strings.Replace(good, `"keys"`, `"thresholds":{"release":"1"},"keys"`, 1), "cannot unmarshal"},
		{"too large", good + strings.Repeat(" ", MaxTrust), "larger than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.data == good {
				t.Fatal("nothing was changed")
			}
			_, err := ParseTrust([]byte(c.data))
			if refusal(err) != TrustInvalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("ParseTrust: %v, want %q", err, c.want)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	for _, alg := range []Algorithm{Ed25519, ES256} {
		key := testKey(t, alg)
		file := must(key.PEM())(t)
		again, err := ParsePrivateKey(file)
		if err != nil || again.Public().ID() != key.Public().ID() {
			t.Errorf("%s: %v, %v", alg, again, err)
		}
		spki := must(key.Public().SPKI())(t)
		if p, err := ParsePublicKey(spki); err != nil || p.ID() != key.Public().ID() || p.Algorithm() != alg {
			t.Errorf("%s: %v, %v", alg, p, err)
		}
		for name, bad := range map[string]string{
			"public":    strings.ReplaceAll(string(file), "PRIVATE", "PUBLIC"),
			"encrypted": strings.ReplaceAll(string(file), "PRIVATE", "ENCRYPTED PRIVATE"),
			"two":       string(file) + string(file),
			"none":      "key",
			"cut":       "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
			"huge":      strings.Repeat("x", maxKeyFile+1),
		} {
			if _, err := ParsePrivateKey([]byte(bad)); err == nil {
				t.Errorf("%s: the %s file was read", alg, name)
			}
		}
	}
	if _, err := GenerateKey("RS256"); err == nil {
		t.Error("RS256 was generated")
	}
}

// TestThumbprint checks the key id against RFC 8037, appendix A.3.
func TestThumbprint(t *testing.T) {
	p, err := ParsePublicKey("MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
	if err != nil || p.ID() != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("ID = %q, %v", p.ID(), err)
	}
}
