# A round trip with Mail::IMAPClient; arguments: port, security, CA file, user, password, mailbox (modified UTF-7), file.
use strict;
use warnings;
use IO::Socket::SSL;
use Mail::IMAPClient;

my ($port, $security, $ca, $user, $password, $name, $file) = @ARGV;
open my $handle, '<:raw', $file or die $!;
my $mail = do { local $/; <$handle> };
my @tls = (SSL_ca_file => $ca, SSL_verify_mode => SSL_VERIFY_PEER, SSL_hostname => 'localhost');

sub connected {
    my $client = Mail::IMAPClient->new(
        Server => 'localhost', Port => $port, User => $user, Password => $password, Uid => 1, Timeout => 20,
        ($security eq 'implicit' ? (Ssl => [@tls]) : (Starttls => [@tls])),
    );
    die "cannot log in: $@" unless $client && $client->IsAuthenticated;
    return $client;
}

sub ok {
    my ($client, $good, $what) = @_;
    die "$what: " . ($client->LastError // 'no') . "\n" unless $good;
}

my $client = connected();
ok($client, $client->create($name), 'create');
ok($client, scalar(grep { $_ eq $name } $client->folders), 'folders');
my $uid = $client->append_string('INBOX', $mail, '\Flagged');
ok($client, $uid, 'append');
ok($client, $client->select('INBOX'), 'select');
ok($client, $client->message_string($uid) eq $mail, 'the message has changed');
my @absent = $client->search('FLAGGED', 'SUBJECT', 'absent');
ok($client, !@absent, 'search finds what is not there');
ok($client, join(',', $client->search('FLAGGED')) eq $uid, 'search');
ok($client, $client->subject($uid), 'subject');
ok($client, $client->get_bodystructure($uid)->bodytype eq 'MULTIPART', 'bodystructure');
ok($client, $client->set_flag('work', $uid), 'set_flag');
ok($client, scalar(grep { $_ eq 'work' } $client->flags($uid)), 'flags');
my $tag = $client->idle;
ok($client, $tag, 'idle');
my $other = connected();
ok($other, $other->append_string('INBOX', "Subject: Second\r\n\r\ntwo\r\n"), 'append');
$other->logout;
my $news = $client->idle_data(20);
ok($client, $news && scalar(grep { /EXISTS/ } @$news), 'idle_data');
ok($client, $client->done($tag), 'done');
ok($client, $client->move($name, $uid), 'move');
ok($client, $client->expunge, 'expunge');
ok($client, $client->message_count == 1, 'message_count');
ok($client, $client->select($name), 'select');
ok($client, $client->delete_message($client->messages), 'delete_message');
ok($client, $client->expunge, 'expunge');
ok($client, $client->message_count == 0, 'message_count');
ok($client, $client->close, 'close');
ok($client, $client->delete($name), 'delete');
ok($client, $client->logout, 'logout');
