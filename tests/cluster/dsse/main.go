// Verifies a DSSE envelope with an implementation that shares nothing with the one that signed it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/signerverifier"
)

func main() {
	payload, err := verify(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Stdout.Write(payload)
}

// verify returns what the envelope holds, if the public key in PEM has signed it.
func verify(envelopeFile, keyFile string) ([]byte, error) {
	raw, err := os.ReadFile(envelopeFile)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	key, err := signerverifier.LoadKey(pem)
	if err != nil {
		return nil, err
	}
	var verifier dsse.Verifier
	switch key.KeyType {
	case signerverifier.ED25519KeyType:
		verifier, err = signerverifier.NewED25519SignerVerifierFromSSLibKey(key)
	case signerverifier.ECDSAKeyType:
		verifier, err = signerverifier.NewECDSASignerVerifierFromSSLibKey(key)
	default:
		err = fmt.Errorf("a key of the type %q", key.KeyType)
	}
	if err != nil {
		return nil, err
	}
	envelopeVerifier, err := dsse.NewEnvelopeVerifier(verifier)
	if err != nil {
		return nil, err
	}
	var envelope dsse.Envelope
	if err := json.Unmarshal(raw, &envelope); err != nil {
		return nil, err
	}
	if _, err := envelopeVerifier.Verify(context.Background(), &envelope); err != nil {
		return nil, err
	}
	return envelope.DecodeB64Payload()
}
