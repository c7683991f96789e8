package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// credentials are all keys of one cluster, in PEM, made fresh for it.
type credentials struct {
	authority         []byte
	certificate       []byte
	key               []byte
	serviceAccountKey []byte
	token             string
}

// newCredentials makes elliptic keys: the API server would make itself RSA ones, which takes up to a second.
func newCredentials() (credentials, error) {
	var made credentials
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return made, err
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "test cluster authority"},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return made, err
	}
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return made, err
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "kube-apiserver"},
		NotBefore:    authority.NotBefore, NotAfter: authority.NotAfter,
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	serverDER, err := x509.CreateCertificate(rand.Reader, server, authority, serverKey.Public(), authorityKey)
	if err != nil {
		return made, err
	}
	serviceAccountKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return made, err
	}
	made.authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER})
	made.certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: serverDER})
	if made.key, err = encodeKey(serverKey); err != nil {
		return made, err
	}
	if made.serviceAccountKey, err = encodeKey(serviceAccountKey); err != nil {
		return made, err
	}
	token := make([]byte, 16)
	if _, err := rand.Read(token); err != nil {
		return made, err
	}
	made.token = hex.EncodeToString(token)
	return made, nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// writeFiles writes what the parts and the tests read.
func (c *cluster) writeFiles() error {
	files := map[string][]byte{
		"ca.crt":             c.credentials.authority,
		"apiserver.crt":      c.credentials.certificate,
		"apiserver.key":      c.credentials.key,
		"serviceaccount.key": c.credentials.serviceAccountKey,
		"tokens.csv":         []byte(c.credentials.token + ",admin,admin,system:masters\n"),
		"kubeconfig":         c.kubeconfig(),
		"audit-policy.yaml":  []byte(auditPolicy),
	}
	for name, content := range files {
		if err := c.replace(name, content); err != nil {
			return err
		}
	}
	return nil
}

// replace writes a file so that a reader sees the old or the new content, never a half.
func (c *cluster) replace(name string, content []byte) error {
	fresh := c.path("." + name)
	if err := os.WriteFile(fresh, content, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, c.path(name))
}

func (c *cluster) kubeconfig() []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: admin
  user:
    token: %s
contexts:
- name: test
  context: {cluster: test, user: admin}
`, c.server(), base64.StdEncoding.EncodeToString(c.credentials.authority), c.credentials.token)
}

// auditPolicy lets a test count what an operator asked of the API server.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted, Panic]
rules:
- level: None
  userGroups: ["system:serviceaccounts:kube-system"]
- level: Metadata
  userGroups: ["system:serviceaccounts"]
- level: None
`
