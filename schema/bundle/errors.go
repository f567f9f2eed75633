package bundle

import "fmt"

// Reason says why a bundle was refused. The values are stable: they are labels of metrics and fields of JSON output.
type Reason string

// The reasons, in the order in which verification meets them.
const (
	TrustInvalid      Reason = "trust_invalid"      // trust.json cannot be used
	ArchiveMalformed  Reason = "archive_malformed"  // not the one byte sequence a .gwb or OCI artifact has
	TooLarge          Reason = "too_large"          // beyond a limit of the format
	ChannelMissing    Reason = "channel_missing"    // a channel is required and there is none
	EnvelopeMalformed Reason = "envelope_malformed" // not a canonical DSSE envelope
	PayloadType       Reason = "payload_type"       // signed as something else
	SignatureMissing  Reason = "signature_missing"  // fewer signatures than needed
	KeyUnknown        Reason = "key_unknown"        // signed by a key trust.json does not list
	KeyNotAllowed     Reason = "key_not_allowed"    // the key may not sign this, or not for this environment
	SignatureInvalid  Reason = "signature_invalid"  // the signature does not fit the bytes
	UnknownSchema     Reason = "unknown_schema"     // written for another version of the format
	ChannelMalformed  Reason = "channel_malformed"  // signed, but not a channel document
	ManifestMalformed Reason = "manifest_malformed" // signed, but not a manifest
	WrongEnvironment  Reason = "wrong_environment"  // meant for another environment
	WrongName         Reason = "wrong_name"         // comes from another repository
	VersionOlder      Reason = "version_older"      // older than the last activated
	VersionFork       Reason = "version_fork"       // the version of the last activated, with other content
	ChannelExpired    Reason = "channel_expired"    // past its expiresAt
	ApprovalMalformed Reason = "approval_malformed" // signed, but not an approval
	ApprovalExpired   Reason = "approval_expired"   // past its expiresAt
	OverlayMalformed  Reason = "overlay_malformed"  // signed, but not an overlay
	OverlayExpired    Reason = "overlay_expired"    // past its expiresAt
	ManifestMismatch  Reason = "manifest_mismatch"  // not the manifest the channel names
	RuntimeTooOld     Reason = "runtime_too_old"    // needs a newer gwrun
	ShardMissing      Reason = "shard_missing"      // listed, not there
	ShardUnlisted     Reason = "shard_unlisted"     // there, not listed
	DigestMismatch    Reason = "digest_mismatch"    // bytes are not the ones that were listed
	ShardMalformed    Reason = "shard_malformed"    // the right bytes, but not canonical JSON
	TenantGrant       Reason = "tenant_grant"       // a tenant has more than the bundle grants it
)

// Error is a refusal: the bundle, its signatures or the trust in them are not what they must be. A command that meets one
// ends with exit code 6. Anything else that goes wrong here, such as a failed read, is a plain error.
type Error struct {
	Reason Reason
	Detail string // what was found, what is needed, what to do
	Err    error  // the cause, if another error was
}

// Error returns the message without the reason.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Detail + ": " + e.Err.Error()
	}
	return e.Detail
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Refuse makes an Error.
func Refuse(reason Reason, format string, args ...any) error {
	return &Error{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

func refuseFor(reason Reason, cause error, format string, args ...any) error {
	return &Error{Reason: reason, Detail: fmt.Sprintf(format, args...), Err: cause}
}
