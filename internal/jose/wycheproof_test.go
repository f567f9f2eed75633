package jose_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/internal/testkit"
)

// stricter are valid vectors that are refused on purpose, by number, each with its reason.
var stricter = map[string]map[int]string{
	"json_web_signature_test.json": {
		346: "the key is for PS256 and the token says PS384", 350: "as 346",
		347: "the key names an algorithm that does not exist (RFC 7518 has ES512)", 351: "as 347",
		372: "a character outside base64url, which some decoders skip", 373: "as 372",
	},
	"json_web_key_test.json": {2: "a secret key in a set, which is published"},
}

// mislabelled are invalid vectors whose token is, byte by byte, that of a valid one: the padding they are about has been lost.
var mislabelled = map[string][]int{"json_web_signature_test.json": {367, 370}}

type vectors struct {
	TestGroups []struct {
		Comment string
		Public  json.RawMessage
		Private json.RawMessage
		Tests   []struct {
			TcID    int
			Comment string
			JWS     any
			Result  string
		}
	}
}

func wycheproof(t *testing.T, name string) vectors {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(testkit.Vectors(t, "wycheproof"), name))
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

type jwk struct{ Kty, K, Alg string }

// setOf makes a key set as an issuer would publish it. A secret key that is alone is one of our own.
func setOf(t *testing.T, raw json.RawMessage) (*jose.Set, []string, error) {
	t.Helper()
	var doc struct{ Keys []jwk }
	whole := raw
	if json.Unmarshal(raw, &doc); doc.Keys == nil {
		doc.Keys = make([]jwk, 1)
		if err := json.Unmarshal(raw, &doc.Keys[0]); err != nil {
			t.Fatal(err)
		}
		whole = []byte(`{"keys":[` + string(raw) + `]}`)
	}
	allowed := jose.Algorithms
	if len(doc.Keys) == 1 && slices.Contains(jose.Algorithms, doc.Keys[0].Alg) {
		allowed = []string{doc.Keys[0].Alg}
	}
	if k := doc.Keys[0]; len(doc.Keys) == 1 && k.Kty == "oct" && strings.HasPrefix(k.Alg, "HS") {
		secret, err := base64.RawURLEncoding.DecodeString(k.K)
		if err != nil {
			return nil, nil, err
		}
		set, err := jose.Secret(secret)
		return set, allowed, err
	}
	set, _, err := jose.ParseSet(whole)
	return set, allowed, err
}

// accepts reports whether the token's signature is taken for right. Most vectors sign something else than claims, which is looked at
// only once the signature is known to be right.
func accepts(t *testing.T, raw json.RawMessage, jws any) (bool, error) {
	token, text := jws.(string)
	if !text {
		return false, errors.New("a JSON serialisation is no token")
	}
	set, allowed, err := setOf(t, raw)
	if err != nil {
		return false, err
	}
	parsed, err := jose.Parse(token)
	if err != nil {
		return false, err
	}
	_, err = parsed.Claims(set, allowed)
	return err == nil || errors.Is(err, jose.ErrMalformed), err
}

// TestWycheproof has no false accept, and refuses nothing that is valid but for the reasons in stricter.
func TestWycheproof(t *testing.T) {
	valid := map[string]bool{}
	for _, file := range []string{"json_web_signature_test.json", "json_web_key_test.json"} {
		count := map[string]int{}
		for _, g := range wycheproof(t, file).TestGroups {
			key := g.Public
			if key == nil {
				key = g.Private
			}
			for _, tt := range g.Tests {
				ok, err := accepts(t, key, tt.JWS)
				token, _ := tt.JWS.(string)
				_, strict := stricter[file][tt.TcID]
				mistaken := slices.Contains(mislabelled[file], tt.TcID)
				switch {
				case mistaken && !valid[token]:
					t.Errorf("%s %d: the token is not that of a valid vector", file, tt.TcID)
				case mistaken:
					count["mislabelled"]++
				case strict && ok:
					t.Errorf("%s %d: accepted, although the list says that we are stricter", file, tt.TcID)
				case strict:
					count["stricter"]++
				case ok != (tt.Result == "valid"):
					t.Errorf("%s %d (%s, %s): accepted %v: %v", file, tt.TcID, g.Comment, tt.Comment, ok, err)
				default:
					count[tt.Result]++
					valid[token] = valid[token] || ok
				}
			}
		}
		if count["valid"] == 0 || count["invalid"] == 0 {
			t.Errorf("%s: too little was tested", file)
		}
		t.Logf("%s: %v", file, count)
	}
}
