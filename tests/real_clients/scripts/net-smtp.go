// Sends what stands on standard input by net/smtp; its only argument is JSON with port, security, ca_file, mechanism, ...
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/smtp"
	"os"
)

type errand struct {
	Port                                            int
	Security, Mechanism, User, Password, Sender, To string
	CAFile                                          string `json:"ca_file"`
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	var given errand
	check(json.Unmarshal([]byte(os.Args[1]), &given))
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(must(os.ReadFile(given.CAFile)))
	context := &tls.Config{RootCAs: trusted, ServerName: "localhost"}
	address := fmt.Sprintf("localhost:%d", given.Port)
	var client *smtp.Client
	if given.Security == "implicit" {
		client = must(smtp.NewClient(must(tls.Dial("tcp", address, context)), "localhost"))
	} else {
		client = must(smtp.Dial(address))
	}
	check(client.Hello("client.example.test"))
	if given.Security == "starttls" {
		check(client.StartTLS(context))
	}
	switch given.Mechanism {
	case "PLAIN":
		check(client.Auth(smtp.PlainAuth("", given.User, given.Password, "localhost")))
	case "CRAM-MD5":
		check(client.Auth(smtp.CRAMMD5Auth(given.User, given.Password)))
	}
	check(client.Mail(given.Sender))
	check(client.Rcpt(given.To))
	data := must(client.Data())
	must(io.Copy(data, os.Stdin))
	check(data.Close())
	check(client.Quit())
}
