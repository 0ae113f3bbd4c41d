# Sends the message on standard input as the errand says: Ruby's net/smtp.
require "json"
require "net/smtp"

errand = JSON.parse(ARGV[0])
starttls = { "starttls" => :always, "opportunistic" => :auto }.fetch(errand["security"], false)
smtp = Net::SMTP.new("localhost", errand["port"], tls: errand["security"] == "implicit", starttls: starttls,
                     ssl_context_params: { ca_file: errand["ca_file"] })
login = errand["mechanism"].empty? ? [] : [errand["user"], errand["password"], errand["mechanism"].downcase.tr("-", "_").to_sym]
smtp.start(*(login.empty? ? ["client.example.test"] : ["client.example.test", *login])) do |session|
  session.send_message($stdin.binmode.read, errand["sender"], errand["to"])
end
