package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// TrustSchema is the version of trust.json.
const TrustSchema = "gateway.suuupra.dev/trust/v1"

// Role is what a key may sign.
type Role string

// The roles.
const (
	RoleRelease Role = "release" // manifests: what may run
	RoleChannel Role = "channel" // channels: which of them is current
	// RoleApprover is for people: approvals of changes that a gate holds. How many a change needs is for the gate to say.
	RoleApprover Role = "approver"
	RoleAudit    Role = "audit" // footers of audit trails: what a gateway's operators did
	// RoleOverlay is for people, too: changes that are laid over what is published, for a while.
	RoleOverlay Role = "overlay"
)

// Roles are all roles.
func Roles() []Role { return []Role{RoleRelease, RoleChannel, RoleApprover, RoleAudit, RoleOverlay} }

// AnyEnvironment in a key's list stands for every environment.
const AnyEnvironment = "*"

// TrustFile is trust.json: which keys may sign what for which environment, and how many are needed. It is local to
// whoever verifies and is never taken from a bundle.
type TrustFile struct {
	Schema     string     `json:"schema"`
	Keys       []TrustKey `json:"keys"`
	Thresholds Thresholds `json:"thresholds,omitzero"`
	// Environments overrides thresholds for single environments.
	Environments map[string]Thresholds `json:"environments,omitempty"`
}

// TrustKey is one key in trust.json.
type TrustKey struct {
	ID           string    `json:"id"` // RFC 7638 thumbprint of the public key
	Algorithm    Algorithm `json:"algorithm"`
	PublicKey    string    `json:"publicKey"` // base64 of the SubjectPublicKeyInfo
	Roles        []Role    `json:"roles"`
	Environments []string  `json:"environments"` // names, or "*"
	Comment      string    `json:"comment,omitempty"`
}

// Thresholds says how many different keys must have signed; 0 means not stated, which is 1.
type Thresholds struct {
	Release int `json:"release,omitempty"`
	Channel int `json:"channel,omitempty"`
}

func (t Thresholds) of(r Role) int {
	switch r {
	case RoleRelease:
		return t.Release
	case RoleChannel:
		return t.Channel
	}
	return 0 // each statement counts for itself
}

// Trust is a trust.json that has been checked. It is immutable.
type Trust struct {
	keys         map[string]trusted
	thresholds   Thresholds
	environments map[string]Thresholds
}

type trusted struct {
	key  PublicKey
	spec TrustKey
}

// TrustKeyOf describes a public key for trust.json.
func TrustKeyOf(k PublicKey, role Role, environments ...string) (TrustKey, error) {
	spki, err := k.SPKI()
	if err != nil {
		return TrustKey{}, err
	}
	if len(environments) == 0 {
		environments = []string{AnyEnvironment}
	}
	return TrustKey{ID: k.ID(), Algorithm: k.Algorithm(), PublicKey: spki, Roles: []Role{role}, Environments: environments}, nil
}

// Lists reports whether some key has a role for an environment.
func (t *Trust) Lists(r Role, environment string) bool {
	for _, k := range t.keys {
		if slices.Contains(k.spec.Roles, r) && (slices.Contains(k.spec.Environments, environment) || slices.Contains(k.spec.Environments, AnyEnvironment)) {
			return true
		}
	}
	return false
}

// Encode writes the file, indented, for people to read and edit.
func (f TrustFile) Encode() ([]byte, error) {
	f.Schema = TrustSchema
	out, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode trust file: %w", err)
	}
	return append(out, '\n'), nil
}

// AddTrustKey returns a trust file with one key more. What the file says otherwise stays; it is indented anew.
func AddTrustKey(data []byte, k TrustKey) ([]byte, error) {
	if _, err := ParseTrust(data); err != nil {
		return nil, err
	}
	var f TrustFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, refuseFor(TrustInvalid, err, "trust file")
	}
	f.Keys = append(f.Keys, k)
	out, err := f.Encode()
	if err != nil {
		return nil, err
	}
	_, err = ParseTrust(out)
	return out, err
}

// ParseTrust reads a trust.json. It is strict: an unknown or repeated member, a key whose id is not its thumbprint, or a
// threshold nobody can reach is an error, because a mistake here is a door that stands open.
func ParseTrust(data []byte) (*Trust, error) {
	t, err := parseTrust(data)
	if err != nil {
		return nil, refuseFor(TrustInvalid, err, "trust file")
	}
	return t, nil
}

func parseTrust(data []byte) (*Trust, error) {
	if len(data) > MaxTrust {
		return nil, fmt.Errorf("larger than %d bytes", MaxTrust)
	}
	canonical, err := canonicalise(data, false) // refuses repeated members and a second value
	if err != nil {
		return nil, err
	}
	var f TrustFile
	dec := json.NewDecoder(bytes.NewReader(canonical))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, err
	}
	if err := checkSpelling(canonical); err != nil {
		return nil, err
	}
	if f.Schema != TrustSchema {
		return nil, fmt.Errorf("schema is %q, must be %q", f.Schema, TrustSchema)
	}
	if len(f.Keys) == 0 {
		return nil, errors.New("it lists no keys; gwctl keygen writes one that does")
	}
	return f.check()
}

func (f TrustFile) check() (*Trust, error) {
	t := &Trust{keys: make(map[string]trusted, len(f.Keys)), thresholds: f.Thresholds, environments: f.Environments}
	for i, k := range f.Keys {
		key, err := k.check()
		if err != nil {
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		}
		if _, ok := t.keys[k.ID]; ok {
			return nil, fmt.Errorf("keys[%d]: key %s is listed twice", i, k.ID)
		}
		t.keys[k.ID] = trusted{key: key, spec: k}
	}
	for env, th := range f.Environments {
		if !environmentPattern.MatchString(env) {
			return nil, fmt.Errorf("environments: %q is not the name of an environment", env)
		}
		if err := th.check(); err != nil {
			return nil, fmt.Errorf("environments.%s: %w", env, err)
		}
		for _, r := range []Role{RoleRelease, RoleChannel} {
			if need, have := t.threshold(r, env), t.count(r, env); th.of(r) > 0 && need > have {
				return nil, fmt.Errorf("environments.%s: %d %s signatures are needed, %d keys may give one", env, need, r, have)
			}
		}
	}
	if err := f.Thresholds.check(); err != nil {
		return nil, fmt.Errorf("thresholds: %w", err)
	}
	return t, nil
}

func (t Thresholds) check() error {
	for _, n := range []int{t.Release, t.Channel} {
		if n < 0 || n > maxSignatures {
			return fmt.Errorf("a threshold must be between 1 and %d", maxSignatures)
		}
	}
	return nil
}

func (k TrustKey) check() (PublicKey, error) {
	key, err := ParsePublicKey(k.PublicKey)
	switch {
	case err != nil:
		return PublicKey{}, err
	case k.ID != key.ID():
		return PublicKey{}, fmt.Errorf("id is %q, the thumbprint of its public key is %q", k.ID, key.ID())
	case k.Algorithm != key.Algorithm():
		return PublicKey{}, fmt.Errorf("algorithm is %q, its public key is for %s", k.Algorithm, key.Algorithm())
	case len(k.Roles) == 0 || len(k.Environments) == 0:
		return PublicKey{}, errors.New("roles and environments must not be empty; \"*\" stands for every environment")
	}
	for _, r := range k.Roles {
		if !slices.Contains(Roles(), r) {
			return PublicKey{}, fmt.Errorf("role %q is unknown, allowed are %v", r, Roles())
		}
	}
	for _, e := range k.Environments {
		if e != AnyEnvironment && !environmentPattern.MatchString(e) {
			return PublicKey{}, fmt.Errorf("%q is not the name of an environment", e)
		}
	}
	return key, nil
}

// checkSpelling refuses members that encoding/json takes although they are spelled in another case. It decodes once more
// into maps, where names are exact.
func checkSpelling(data []byte) error {
	var f struct {
		Keys         []map[string]any
		Environments map[string]map[string]any
		Thresholds   map[string]any
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	var top map[string]any
	if err := json.Unmarshal(data, &top); err != nil {
		return err
	}
	if err := onlyNames(top, "schema", "keys", "thresholds", "environments"); err != nil {
		return err
	}
	for _, k := range f.Keys {
		if err := onlyNames(k, "id", "algorithm", "publicKey", "roles", "environments", "comment"); err != nil {
			return err
		}
	}
	for _, th := range f.Environments {
		if err := statedThresholds(th); err != nil {
			return err
		}
	}
	return statedThresholds(f.Thresholds)
}

// statedThresholds refuses a threshold of nothing. Decoded, it could not be told from one that is not stated, and whoever
// wrote it would believe that no signature is needed.
func statedThresholds(m map[string]any) error {
	if err := onlyNames(m, "release", "channel"); err != nil {
		return err
	}
	for name, n := range m {
		if n == nil || n == float64(0) {
			return fmt.Errorf("the threshold for %s must be between 1 and %d; leave it out for 1", name, maxSignatures)
		}
	}
	return nil
}

func onlyNames(m map[string]any, names ...string) error {
	for name := range m {
		if !slices.Contains(names, name) {
			return fmt.Errorf("unknown member %q, allowed are %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}

// threshold returns how many different keys must have signed, at least 1.
func (t *Trust) threshold(r Role, env string) int {
	if n := t.environments[env].of(r); n > 0 {
		return n
	}
	return max(1, t.thresholds.of(r))
}

func (t *Trust) count(r Role, env string) int {
	n := 0
	for _, k := range t.keys {
		if k.spec.allows(r, env) {
			n++
		}
	}
	return n
}

func (k TrustKey) allows(r Role, env string) bool {
	return slices.Contains(k.Roles, r) && (slices.Contains(k.Environments, AnyEnvironment) || slices.Contains(k.Environments, env))
}

// authenticate checks every signature of an envelope. Each must be valid and by a key that is listed: a signature nobody
// can check could be changed unseen, and a file has one byte sequence only. Whether the keys suffice is for authorise.
func (t *Trust) authenticate(e envelope, what string) error {
	if len(e.Signatures) == 0 {
		return Refuse(SignatureMissing, "the %s is not signed; sign it with gwctl sign", what)
	}
	message := e.pae()
	for _, s := range e.Signatures {
		k, ok := t.keys[s.KeyID]
		if !ok {
			return Refuse(KeyUnknown, "the %s is signed by key %s, which the trust file does not list; add its public key there if it is yours", what, s.KeyID)
		}
		if !k.key.Verify(message, s.Sig) {
			return Refuse(SignatureInvalid, "the signature of key %s does not fit the %s: it was changed after signing, or signed with another key", s.KeyID, what)
		}
	}
	return nil
}

// authorise checks that enough keys with the role signed for env. The envelope has been authenticated, and holds each key
// at most once.
func (t *Trust) authorise(e envelope, r Role, env, what string) error {
	need, have, other := t.threshold(r, env), 0, ""
	for _, s := range e.Signatures {
		if k := t.keys[s.KeyID]; k.spec.allows(r, env) {
			have++
		} else {
			other = fmt.Sprintf("key %s is for %v in %v", s.KeyID, k.spec.Roles, k.spec.Environments)
		}
	}
	switch {
	case have >= need:
		return nil
	case other != "":
		return Refuse(KeyNotAllowed, "the %s needs %d signature(s) by %s keys for environment %q and has %d; %s", what, need, r, env, have, other)
	}
	return Refuse(SignatureMissing, "the %s needs %d signatures by %s keys for environment %q and has %d; let another key sign it with gwctl sign", what, need, r, env, have)
}

// KeyIDs returns the ids of the keys that have a role in an environment, sorted.
func (t *Trust) KeyIDs(r Role, env string) []string {
	var ids []string
	for id, k := range t.keys {
		if k.spec.allows(r, env) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
