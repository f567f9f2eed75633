// Package apiserver runs a real kube-apiserver and its etcd for tests, without anything else of Kubernetes. The API server is built from
// source once, and kept in the user's cache.
package apiserver

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/suuupra/gateway/internal/testkit"
)

// The names of tokens that the API server knows, whatever etcd holds: that of an administrator, and that of a user named gateway.
const (
	AdminToken   = "token-of-admin"
	GatewayToken = "token-of-gateway"
)

// built returns a program of Kubernetes, in the version of tools/kubernetes.
func built(tb testing.TB, program string) string {
	tb.Helper()
	tools := filepath.Join(testkit.Root(tb), "tools", "kubernetes")
	run := func(args ...string) string {
		tb.Helper()
		cmd := exec.Command("nice", append([]string{"-n", "10", "go"}, args...)...)
		cmd.Dir = tools
		out, err := cmd.CombinedOutput()
		if err != nil {
			tb.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		tb.Fatal(err)
	}
	version := run("list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	path := filepath.Join(cache, "gateway-tests", "kubernetes-"+version+"-"+runtime.Version(), program)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	start := time.Now()
	unfinished := fmt.Sprint(path, ".", os.Getpid())
	run("build", "-ldflags=-s -w", "-o", unfinished, "k8s.io/kubernetes/cmd/"+program)
	if err := os.Rename(unfinished, path); err != nil {
		tb.Fatal(err)
	}
	tb.Logf("built %s %s in %v", program, version, time.Since(start).Round(time.Second))
	return path
}

// Cluster is an API server and its etcd. What they are asked as Clientset is asked as administrator.
type Cluster struct {
	*clientset.Clientset
	Config       *rest.Config // of the administrator
	Etcd, Server *testkit.Process

	tb                         testing.TB
	dir, client, peer, api     string // addresses but for dir
	etcdProgram, serverProgram string
}

// New starts both, and stops them when the test ends.
func New(tb testing.TB) *Cluster {
	tb.Helper()
	c := &Cluster{
		tb: tb, dir: tb.TempDir(), client: testkit.FreePort(tb), peer: testkit.FreePort(tb), api: testkit.FreePort(tb),
		etcdProgram: testkit.Program(tb, "etcd"), serverProgram: built(tb, "kube-apiserver"),
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	c.write("accounts.key", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	c.write("tokens.csv", AdminToken+",admin,1,system:masters\n"+GatewayToken+",gateway,2\n")
	c.StartEtcd()
	c.StartServer()
	return c
}

func (c *Cluster) write(name, text string) string {
	c.tb.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.tb.Fatal(err)
	}
	return path
}

// StartEtcd starts etcd with what it had before.
func (c *Cluster) StartEtcd() {
	c.tb.Helper()
	c.Etcd = testkit.Start(c.tb, testkit.Command{Path: c.etcdProgram, Args: []string{
		"--name=etcd", "--data-dir=" + filepath.Join(c.dir, "etcd"), "--listen-client-urls=http://" + c.client,
		"--advertise-client-urls=http://" + c.client, "--listen-peer-urls=http://" + c.peer,
		"--initial-advertise-peer-urls=http://" + c.peer, "--initial-cluster=etcd=http://" + c.peer,
	}})
}

// WipeEtcd ends etcd, and starts it anew with nothing.
func (c *Cluster) WipeEtcd() {
	c.tb.Helper()
	c.Etcd.Kill()
	c.Must(os.RemoveAll(filepath.Join(c.dir, "etcd")))
	c.StartEtcd()
}

// StartServer starts the API server and waits until it is ready. Its certificate is made at the first start and kept.
func (c *Cluster) StartServer() {
	c.tb.Helper()
	host, port, _ := net.SplitHostPort(c.api)
	key := filepath.Join(c.dir, "accounts.key")
	c.Server = testkit.Start(c.tb, testkit.Command{Path: c.serverProgram, Args: []string{
		"--etcd-servers=http://" + c.client, "--bind-address=" + host, "--advertise-address=" + host, "--secure-port=" + port,
		"--cert-dir=" + filepath.Join(c.dir, "certs"), "--token-auth-file=" + filepath.Join(c.dir, "tokens.csv"),
		"--authorization-mode=RBAC", "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + key,
		"--service-account-signing-key-file=" + key, "--service-cluster-ip-range=10.0.0.0/24", "--endpoint-reconciler-type=none",
	}})
	c.Config = &rest.Config{
		Host: "https://" + c.api, BearerToken: AdminToken, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: 1000, Burst: 1000,
	}
	var err error
	c.Clientset, err = clientset.NewForConfig(c.Config)
	c.Must(err)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(patience); !c.isReady(); <-again.C {
		if time.Now().After(end) {
			c.tb.Fatalf("waited %s in vain until the API server is ready", patience)
		}
	}
}

// patience is for a machine that has other things to do: an API server makes all its roles and priorities anew if etcd is empty.
const patience = 5 * time.Minute

func (c *Cluster) isReady() bool {
	ctx, cancel := context.WithTimeout(c.tb.Context(), 5*time.Second)
	defer cancel()
	_, err := c.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	return err == nil
}

// Must ends the test at an error, but for that of an object which is there already.
func (c *Cluster) Must(err error) {
	c.tb.Helper()
	if err != nil && !apierrors.IsAlreadyExists(err) {
		c.tb.Fatal(err)
	}
}

// Kubeconfig writes one for a token, and returns its path.
func (c *Cluster) Kubeconfig(token string) string {
	c.tb.Helper()
	authority, err := os.ReadFile(filepath.Join(c.dir, "certs", "apiserver.crt"))
	if err != nil {
		c.tb.Fatal(err)
	}
	return c.write("kubeconfig-"+base64.RawURLEncoding.EncodeToString([]byte(token))[:12], fmt.Sprintf(
		`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"clusters": [{"name": "c", "cluster": {"server": "https://%s", "certificate-authority-data": %q}}],
"users": [{"name": "u", "user": {"token": %q}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}`,
		c.api, base64.StdEncoding.EncodeToString(authority), token))
}
