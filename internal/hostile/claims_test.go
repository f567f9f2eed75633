package hostile_test

import (
	"strings"

	"github.com/suuupra/gateway/internal/jose"
)

const (
	expired    = "401 token_expired"
	early      = "401 token_not_yet_valid"
	noRole     = "403 role_missing"
	noScope    = "403 scope_missing"
	noPerm     = "403 permission_missing"
	noSuchLuck = "403 condition_failed"
)

// publicSet is a key set.
func publicSet(signers ...*jose.Signer) (string, error) {
	set, err := jose.EncodeSet(signers...)
	return string(set), err
}

// claimInputs are about what a token says that the issuer has signed. Clocks may be a minute apart.
var claimInputs = []tokenInput{
	// When (RFC 7519 section 4.1). An issuer's test of the last second is beside the policy, which has a clock that stands still.
	{name: "no exp", token: claim("exp", nil), want: invalid},
	{name: "exp null", token: date("exp", "null"), want: invalid},
	{name: "exp a text", token: date("exp", `"9999999999"`), want: invalid},
	{name: "exp true", token: date("exp", "true"), want: invalid},
	{name: "exp a list", token: date("exp", "[9999999999]"), want: invalid},
	{name: "exp 1e400", token: date("exp", "1e400"), want: invalid},
	{name: "exp NaN", token: date("exp", "NaN"), want: malformed},
	{name: "exp hex", token: date("exp", "0xffffffff"), want: malformed},
	{name: "exp with plus", token: date("exp", "+9999999999"), want: malformed},
	{name: "exp with a leading zero", token: date("exp", "09999999999"), want: malformed},
	{name: "exp negative", token: date("exp", "-1"), want: invalid},
	{name: "exp -0", token: date("exp", "-0"), want: expired},
	{name: "exp 2^63", token: date("exp", "9223372036854775808"), want: invalid},
	{name: "exp 2^64 and more, which would wrap", token: date("exp", "18446744073709551616"), want: invalid},
	{name: "exp in the year 10000", token: date("exp", "253402300800"), want: invalid},
	{name: "exp in milliseconds", token: date("exp", "1767225600000"), want: invalid},
	{name: "exp 61 seconds ago", token: later("exp", -61), want: expired},
	{name: "exp 50 seconds ago", is: normal, token: later("exp", -50)},
	{name: "exp a second ago, twice", token: rawClaims(`"exp":1`), want: malformed},
	{name: "exp 9999999999.5", is: normal, token: date("exp", "9999999999.5")},
	{name: "nbf in 65 seconds", token: later("nbf", 65), want: early},
	{name: "nbf in 50 seconds", is: normal, token: later("nbf", 50)},
	{name: "nbf a text", token: claim("nbf", "0"), want: invalid},
	{name: "nbf null", token: date("nbf", "null"), want: invalid},
	{name: "nbf negative", token: claim("nbf", -1), want: invalid},
	{name: "iat tomorrow", token: later("iat", 86400), want: early},
	{name: "iat a text", token: claim("iat", "yesterday"), want: invalid},

	// From whom.
	{name: "no iss", token: claim("iss", nil), want: malformed},
	{name: "iss null", token: rawIssuer("null"), want: malformed},
	{name: "iss a list", token: claim("iss", []string{issuer}), want: malformed},
	{name: "iss with a slash", token: claim("iss", issuer+"/"), want: invalid},
	{name: "iss in capitals", token: claim("iss", "https://IDENTITY.example"), want: invalid},
	{name: "iss longer", token: claim("iss", issuer+".evil.io"), want: invalid},
	{name: "iss shorter", token: claim("iss", strings.TrimSuffix(issuer, "e")), want: invalid},
	{name: "iss with a space", token: claim("iss", issuer+" "), want: invalid},
	{name: "iss with NUL", token: claim("iss", issuer+"\x00"), want: invalid},
	{name: "iss empty", token: claim("iss", ""), want: invalid},
	{name: "iss twice", token: rawClaims(`"iss":"https://evil.example"`), want: malformed},
	{name: "iss with an escape, twice", token: rawClaims(`"\u0069ss":"https://evil.example"`), want: malformed},
	{name: "Iss beside iss", is: normal, token: claim("Iss", "https://evil.example")},

	// For whom.
	{name: "no aud", token: claim("aud", nil), want: invalid},
	{name: "aud null", token: rawAudience("null"), want: invalid},
	{name: "aud longer", token: claim("aud", audience+"-evil"), want: invalid},
	{name: "aud shorter", token: claim("aud", "suuupra"), want: invalid},
	{name: "aud in capitals", token: claim("aud", "SUUUPRA-API"), want: invalid},
	{name: "aud of somebody else", token: claim("aud", []string{"x"}), want: invalid},
	{name: "aud an empty list", token: claim("aud", []string{}), want: invalid},
	{name: "aud an object", token: claim("aud", map[string]any{audience: 1}), want: invalid},
	{name: "aud an object with the name as a value", token: claim("aud", map[string]any{"aud": audience}), want: invalid},
	{name: "aud a list in a list", token: claim("aud", []any{[]string{audience}}), want: invalid},
	{name: "aud a list with a number", token: claim("aud", []any{audience, 1}), want: invalid},
	{name: "aud with commas", token: claim("aud", "x,"+audience), want: invalid},
	{name: "aud with a space", token: claim("aud", "x "+audience), want: invalid},
	{name: "aud true", token: claim("aud", true), want: invalid},
	{name: "aud of several", is: normal, token: claim("aud", []string{"x", audience})},

	// Of whom.
	{name: "sub a number", token: claim("sub", 1), want: invalid},
	{name: "sub null", token: rawClaims(`"sub2":null`), is: normal}, // any other member may be anything
	{name: "sub twice", token: rawClaims(`"sub":"root"`), want: malformed},
	{name: "claims a list", token: rawPayload(`["iss"]`), want: malformed},
	{name: "claims a text", token: rawPayload(`"iss"`), want: malformed},
	{name: "claims empty", token: rawPayload(``), want: malformed},
	{name: "claims null", token: rawPayload(`null`), want: malformed},
	{name: "claims with something behind them", token: rawPayload(`{"iss":"https://identity.example"}{"aud":"suuupra-api"}`), want: malformed},
	{name: "claims not UTF-8", token: rawClaims("\"x\":\"\xff\""), want: malformed},
	{name: "claims of 1,500 lists in each other", token: rawClaims(`"x":` + strings.Repeat("[", 1500) + strings.Repeat("]", 1500)), want: malformed},
	{name: "claims of 10,000 lists in each other", token: rawClaims(`"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)), want: malformed},
	{name: "claims with a number of 3,000 digits", is: normal, token: rawClaims(`"x":` + strings.Repeat("9", 3000))},

	// What they may do.
	{name: "all that is needed", is: normal, at: "need", token: (*mint).good},
	{name: "no roles", at: "need", token: claim("roles", nil), want: noRole},
	{name: "roles empty", at: "need", token: claim("roles", []string{}), want: noRole},
	{name: "roles a text", at: "need", token: claim("roles", "user"), want: noRole},
	{name: "roles an object", at: "need", token: claim("roles", map[string]any{"user": 1}), want: noRole},
	{name: "roles with a prefix", at: "need", token: claim("roles", []string{"ROLE_user"}), want: noRole},
	{name: "roles in capitals", at: "need", token: claim("roles", []string{"USER"}), want: noRole},
	{name: "roles with a comma", at: "need", token: claim("roles", []string{"user,admin"}), want: noRole},
	{name: "roles with a space", at: "need", token: claim("roles", []string{"user "}), want: noRole},
	{name: "roles in a list in a list", at: "need", token: claim("roles", []any{[]string{"user"}}), want: noRole},
	{name: "roles with a number among them", at: "need", token: claim("roles", []any{"user", 1}), want: noRole},
	{name: "roles twice", at: "need", token: rawClaims(`"roles":["user"]`), want: malformed},
	{name: "role in place of roles", at: "need", token: claim("roles", nil, "role", "user"), want: noRole},
	{name: "Roles in place of roles", at: "need", token: claim("roles", nil, "Roles", []string{"user"}), want: noRole},
	{name: "1,000 roles and not the one", at: "need", token: claim("roles", manyNames(1000)), want: noRole},
	{name: "10,000 roles and the one", at: "need", token: claim("roles", append(manyNames(10_000), "user")), want: headerTooLarge},
	{name: "2,000 roles and the one", at: "need", token: claim("roles", append(manyNames(2_000), "user")), want: malformed}, // more than 8 KiB
	{name: "no scope", at: "need", token: claim("scope", nil), want: noScope},
	{name: "scope longer", at: "need", token: claim("scope", "user.readx"), want: noScope},
	{name: "scope in front", at: "need", token: claim("scope", "xuser.read"), want: noScope},
	{name: "scope with a tab", at: "need", token: claim("scope", "user.write\tuser.read"), want: noScope},
	{name: "scope with a no-break space", at: "need", token: claim("scope", "user.write\u00a0user.read"), want: noScope},
	{name: "scope with a line break", at: "need", token: claim("scope", "user.write\nuser.read"), want: noScope},
	{name: "scope with a comma", at: "need", token: claim("scope", "user.write,user.read"), want: noScope},
	{name: "scope in capitals", at: "need", token: claim("scope", "USER.READ"), want: noScope},
	{name: "scope an object", at: "need", token: claim("scope", map[string]any{"user.read": true}), want: noScope},
	{name: "scope with a star", at: "need", token: claim("scope", "*"), want: noScope},
	{name: "no permission", at: "need", token: claim("perms", nil), want: noPerm},
	{name: "perms a text", at: "need", token: claim("perms", "orders.write"), want: noPerm},
	{name: "perms with a star", at: "need", token: claim("perms", []string{"orders.*"}), want: noPerm},
	{name: "one's own tenant", is: normal, at: "own/blue", token: (*mint).good},
	{name: "another's tenant", at: "own/red", token: (*mint).good, want: noSuchLuck},
	{name: "no tenant", at: "own/blue", token: claim("tenant", nil), want: noSuchLuck},
	{name: "tenants in a list", at: "own/blue", token: claim("tenant", []string{"blue"}), want: noSuchLuck},
	{name: "tenant a number", at: "own/1", token: claim("tenant", 1), want: noSuchLuck},
	{name: "tenant true", at: "own/true", token: claim("tenant", true), want: noSuchLuck},
	{name: "tenant an object", at: "own/blue", token: claim("tenant", map[string]any{"blue": 1}), want: noSuchLuck},
	{name: "tenant_id in place of tenant", at: "own/blue", token: claim("tenant", nil, "tenant_id", "blue"), want: noSuchLuck},
	{name: "tenant null", at: "own/null", token: rawTenant("null"), want: noSuchLuck},
	{name: "tenant with an escape in the path", is: normal, at: "own/%62lue", token: (*mint).good, to: "/own/blue/x"}, // its normal form is what conditions see
	{name: "tenant with a slash in the path", at: "own/red%2f..%2fblue", token: (*mint).good, want: encodedSlash},
	{name: "tenant by way of another's path", is: normal, at: "own/red/../blue", token: (*mint).good, to: "/own/blue/x"},
	{name: "another role where some are let in", at: "grants", token: (*mint).good, want: noRole},
	{name: "a role that is let in", is: normal, at: "grants", token: claim("roles", []string{"support"})},
}

// rawIssuer makes tokens of the issuer whose iss is a piece of JSON.
func rawIssuer(text string) func(*mint) string { return date("iss", text) }

func rawAudience(text string) func(*mint) string { return date("aud", text) }

func rawTenant(text string) func(*mint) string { return date("tenant", text) }

// rawPayload makes tokens of the issuer with a payload as it stands.
func rawPayload(text string) func(*mint) string {
	return func(m *mint) string { return raw256(m.es, `{"alg":"ES256","kid":"es"}`, text) }
}

func manyNames(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "a"
	}
	return out
}
