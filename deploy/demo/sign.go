package main

// A real S/MIME signature (RFC 8551, 3.5.3): multipart/signed with a detached
// CMS SignedData (RFC 5652, 5.1), so that "the signature still holds" can be
// proved and not only said.

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

var (
	oidData       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidSHA256     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidECDSA      = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2} // ecdsa-with-SHA256
)

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content signedData `asn1:"explicit,tag:0"`
}

type signedData struct {
	Version      int
	Digests      []pkix.AlgorithmIdentifier `asn1:"set"`
	Encapsulated struct{ Type asn1.ObjectIdentifier }
	Certificates asn1.RawValue
	Signers      []signerInfo `asn1:"set"`
}

type signerInfo struct {
	Version int
	Signer  struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}
	Digest    pkix.AlgorithmIdentifier
	Algorithm pkix.AlgorithmIdentifier
	Signature []byte
}

// sign wraps content into multipart/signed, with a key made for the occasion.
func sign(content entity, by string, now time.Time) (entity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return entity{}, fmt.Errorf("key to sign with: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: by}, EmailAddresses: []string{by},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return entity{}, fmt.Errorf("certificate to sign with: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return entity{}, fmt.Errorf("certificate to sign with: %w", err)
	}
	digest := sha256.Sum256(canonical(content.bytes()))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return entity{}, fmt.Errorf("sign: %w", err)
	}
	cms, err := marshalCMS(cert, signature)
	if err != nil {
		return entity{}, fmt.Errorf("sign: %w", err)
	}
	return group("signed", `; micalg=sha-256; protocol="application/pkcs7-signature"`,
		content, file("application/pkcs7-signature", "smime.p7s", cms)), nil
}

func marshalCMS(cert *x509.Certificate, signature []byte) ([]byte, error) {
	hash, signer := pkix.AlgorithmIdentifier{Algorithm: oidSHA256}, signerInfo{Version: 1, Signature: signature}
	signer.Signer.Issuer.FullBytes, signer.Signer.Serial = cert.RawIssuer, cert.SerialNumber
	signer.Digest, signer.Algorithm.Algorithm = hash, oidECDSA
	sd := signedData{Version: 1, Digests: []pkix.AlgorithmIdentifier{hash}, Signers: []signerInfo{signer}}
	sd.Encapsulated.Type = oidData
	sd.Certificates = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: cert.Raw}
	return asn1.Marshal(contentInfo{oidSignedData, sd})
}

// verify checks the signature of a multipart/signed body (RFC 1847, 2.1).
func verify(raw []byte) error {
	parts, err := readMail(raw)
	if err != nil {
		return err
	}
	p7s, ok := first(parts, "application/pkcs7-signature")
	if !ok {
		return errors.New("there is no signature in the mail")
	}
	var cms contentInfo
	if _, err := asn1.Unmarshal(p7s.content, &cms); err != nil || len(cms.Content.Signers) != 1 {
		return fmt.Errorf("unreadable signature: %w", err)
	}
	cert, err := x509.ParseCertificate(cms.Content.Certificates.Bytes)
	if err != nil {
		return fmt.Errorf("certificate in the signature: %w", err)
	}
	// The first part runs from the first delimiter line to the line break before the second.
	const delimiter = "--=_signed_2\n"
	_, rest, _ := bytes.Cut(bodyOf(raw), []byte(delimiter))
	signed, _, ok := bytes.Cut(rest, []byte("\n"+delimiter))
	if !ok {
		return errors.New("the signed part is not where it was")
	}
	return cert.CheckSignature(x509.ECDSAWithSHA256, canonical(signed), cms.Content.Signers[0].Signature)
}

// canonical gives text the line ends it is signed with, CRLF.
func canonical(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) }
