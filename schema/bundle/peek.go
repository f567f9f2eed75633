package bundle

import "fmt"

// Peek decodes a bundle without believing it: no signature is checked, only that the shards are the ones the manifest
// lists. It is for showing and comparing bundles; what is to run goes through Verify.
func Peek(raw *Raw) (*Verdict, error) {
	v := &Verdict{}
	if raw.Channel != nil {
		c, at, err := PeekChannel(raw.Channel)
		if err != nil {
			return nil, err
		}
		v.Channel, v.Position = c, at
	}
	e, err := decodeEnvelope(raw.Manifest, manifestType, MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	m, err := decodeManifest(e.Payload)
	if err != nil {
		return nil, err
	}
	v.Bundle = &Bundle{Manifest: *m, payload: e.Payload, envelope: e}
	if err := v.Bundle.attach(raw.Blobs); err != nil {
		return nil, err
	}
	return v, nil
}

// Cosign adds a release signature to the envelope of a manifest that others have signed, in place of an earlier one by the
// same key.
func Cosign(manifest []byte, s Signer) ([]byte, error) {
	e, err := decodeEnvelope(manifest, manifestType, MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if e, err = e.sign(s); err != nil {
		return nil, fmt.Errorf("sign manifest: %w", err)
	}
	return e.encode(), nil
}

// ChannelSigners returns the ids of the keys that signed the envelope of a channel, unverified.
func ChannelSigners(channel []byte) ([]string, error) {
	e, err := decodeEnvelope(channel, channelType, MaxChannel)
	if err != nil {
		return nil, fmt.Errorf("channel: %w", err)
	}
	return e.keyIDs(), nil
}

// ManifestSigners returns the ids of the keys that signed the envelope of a manifest, unverified.
func ManifestSigners(manifest []byte) ([]string, error) {
	e, err := decodeEnvelope(manifest, manifestType, MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return e.keyIDs(), nil
}
