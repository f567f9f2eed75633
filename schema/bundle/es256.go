package bundle

import (
	"crypto/elliptic"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
)

// RawES256 turns the ASN.1 signature which key services and crypto/ecdsa return into the form envelopes carry: r and s,
// 32 bytes each, with s in the lower half of the order.
func RawES256(der []byte) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &sig)
	if err != nil {
		return nil, fmt.Errorf("read ECDSA signature: %w", err)
	}
	n := elliptic.P256().Params().N
	if len(rest) > 0 || sig.R.Sign() <= 0 || sig.S.Sign() <= 0 || sig.R.Cmp(n) >= 0 || sig.S.Cmp(n) >= 0 {
		return nil, errors.New("read ECDSA signature: out of range")
	}
	if sig.S.Cmp(halfOrder()) > 0 {
		sig.S.Sub(n, sig.S)
	}
	out := make([]byte, signatureSize)
	sig.R.FillBytes(out[:32])
	sig.S.FillBytes(out[32:])
	return out, nil
}
