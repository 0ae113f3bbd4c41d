# A round trip with Ruby's net/imap; arguments: port, security, CA file, user, password, mailbox (modified UTF-7), file.
require "net/imap"

PORT, SECURITY, CA, USER, PASSWORD, NAME, FILE = ARGV
mail = File.binread(FILE)

def connected
  tls = { ca_file: CA }
  client = Net::IMAP.new("localhost", port: PORT.to_i, ssl: SECURITY == "implicit" ? tls : nil)
  client.starttls(tls) unless SECURITY == "implicit"
  client.authenticate("PLAIN", USER, PASSWORD)
  client
end

def same(wanted, found)
  raise "#{found.inspect} in place of #{wanted.inspect}" unless wanted == found
end

client = connected
same NAME, Net::IMAP.encode_utf7("Entwürfe & 日本")
client.create(NAME)
same ["INBOX", NAME], client.list("", "*").map(&:name)
client.append("INBOX", mail, [:Flagged], Time.at(760_686_745))
client.select("INBOX")
same [1], client.responses["EXISTS"]
same mail, client.fetch(1, "BODY.PEEK[]")[0].attr["BODY[]"]
data = client.fetch(1..-1, %w[UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE])[0].attr
same [1, mail.bytesize], [data["UID"], data["RFC822.SIZE"]]
same "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", data["ENVELOPE"].subject
same ["TEXT/PLAIN", "TEXT/HTML"], data["BODYSTRUCTURE"].parts.map { |part| "#{part.media_type}/#{part.subtype}" }
same "two.html", data["BODYSTRUCTURE"].parts[1].disposition.param["FILENAME"]
same [[1], []], [client.uid_search(["FLAGGED", "FROM", "juergen"]), client.search(["SUBJECT", "absent"])]
same true, client.store(1, "+FLAGS", [:Seen, "work"])[0].attr["FLAGS"].include?("work")
other = nil
client.idle(20) do |response|
  if response.is_a?(Net::IMAP::ContinuationRequest)
    other = Thread.new { connected.tap { |each| each.append("INBOX", "Subject: Second\r\n\r\ntwo\r\n") }.logout }
  elsif response.name == "EXISTS"
    same 2, response.data
    client.idle_done
  end
end
other.join
same [2, 1], client.sort(["REVERSE", "ARRIVAL"], ["ALL"], "UTF-8")
same [1, 2], client.thread("REFERENCES", ["ALL"], "UTF-8").map(&:seqno).sort
client.uid_move(1, NAME)
same({ "MESSAGES" => 1, "UNSEEN" => 0 }, client.status(NAME, %w[MESSAGES UNSEEN]))
client.select(NAME)
client.store(1, "+FLAGS", [:Deleted])
same [1], client.expunge
client.close
client.delete(NAME)
same ["INBOX"], client.list("", "*").map(&:name)
client.logout
