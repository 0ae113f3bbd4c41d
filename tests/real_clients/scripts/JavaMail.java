// A round trip with JavaMail; arguments: port, security, CA file, user, password, mailbox, file.
import com.sun.mail.imap.IMAPFolder;
import com.sun.mail.util.MailSSLSocketFactory;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Arrays;
import java.util.Objects;
import java.util.Properties;
import javax.mail.*;
import javax.mail.event.MessageCountAdapter;
import javax.mail.event.MessageCountEvent;
import javax.mail.internet.MimeMessage;
import javax.mail.search.*;
import javax.net.ssl.TrustManagerFactory;

public class JavaMail {
    static Session session;
    static String[] given;

    static Store connected() throws Exception {
        String protocol = given[1].equals("implicit") ? "imaps" : "imap";
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null);
        try (var file = new FileInputStream(given[2])) {
            trusted.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        var managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(trusted);
        var sockets = new MailSSLSocketFactory();
        sockets.setTrustManagers(managers.getTrustManagers());
        var properties = new Properties();
        properties.put("mail." + protocol + ".ssl.socketFactory", sockets);
        properties.put("mail." + protocol + ".ssl.checkserveridentity", "true");
        properties.put("mail." + protocol + ".starttls.required", String.valueOf(protocol.equals("imap")));
        properties.put("mail." + protocol + ".timeout", "20000");
        session = Session.getInstance(properties);
        Store store = session.getStore(protocol);
        store.connect("localhost", Integer.parseInt(given[0]), given[3], given[4]);
        return store;
    }

    static void same(Object wanted, Object found) {
        if (!Objects.deepEquals(wanted, found)) throw new AssertionError(found + " in place of " + wanted);
    }

    public static void main(String[] arguments) throws Exception {
        given = arguments;
        byte[] mail = Files.readAllBytes(Path.of(given[6]));
        Store store = connected();
        var made = (IMAPFolder) store.getFolder(given[5]);
        same(true, made.create(Folder.HOLDS_MESSAGES));
        same(true, Arrays.stream(store.getDefaultFolder().list("*")).anyMatch(each -> each.getFullName().equals(given[5])));
        var inbox = (IMAPFolder) store.getFolder("INBOX");
        inbox.open(Folder.READ_WRITE);
        var message = new MimeMessage(session, new ByteArrayInputStream(mail));
        message.setFlag(Flags.Flag.FLAGGED, true);
        same(1L, inbox.appendUIDMessages(new Message[] {message})[0].uid);
        same(1, inbox.getMessageCount());
        var profile = new FetchProfile();
        for (var item : new FetchProfile.Item[] {FetchProfile.Item.ENVELOPE, FetchProfile.Item.CONTENT_INFO, FetchProfile.Item.FLAGS})
            profile.add(item);
        inbox.fetch(inbox.getMessages(), profile);
        Message first = inbox.getMessage(1);
        same("Grüße", first.getSubject());
        same(mail.length, first.getSize());
        var parts = (Multipart) first.getContent();
        same("two.html", parts.getBodyPart(1).getFileName());
        same(true, ((String) parts.getBodyPart(0).getContent()).contains(") OK \"quoted\" \\ done"));
        var whole = new ByteArrayOutputStream();
        first.writeTo(whole);
        same(mail, whole.toByteArray());
        // Once UTF8=ACCEPT is enabled, it searches for other than ASCII in Latin-1.
        same(1, inbox.search(new AndTerm(new FromStringTerm("juergen"), new FlagTerm(new Flags(Flags.Flag.FLAGGED), true))).length);
        same(0, inbox.search(new SubjectTerm("absent")).length);
        inbox.setFlags(new Message[] {first}, new Flags("work"), true);
        same(true, first.getFlags().contains("work"));
        inbox.addMessageCountListener(new MessageCountAdapter() {
            @Override public void messagesAdded(MessageCountEvent event) {
                event.getMessages();
            }
        });
        var other = new Thread(() -> {
            try (Store second = connected()) {
                var text = "Subject: Second\r\n\r\ntwo\r\n".getBytes();
                second.getFolder("INBOX").appendMessages(new Message[] {new MimeMessage(session, new ByteArrayInputStream(text))});
            } catch (Exception error) {
                throw new AssertionError(error);
            }
        });
        other.start();
        inbox.idle(true);
        other.join();
        same(2, inbox.getMessageCount());
        inbox.moveMessages(new Message[] {first}, made);
        inbox.expunge(); // until then it counts what the server has told of as expunged
        same(1, inbox.getMessageCount());
        made.open(Folder.READ_WRITE);
        same(1, made.getMessageCount());
        made.getMessage(1).setFlag(Flags.Flag.DELETED, true);
        same(1, made.expunge().length);
        made.close(false);
        same(true, made.delete(false));
        store.close();
    }
}
