# Sends what stands on standard input by Net::SMTP; its only argument is JSON with port, security, ca_file, mechanism, ...
use strict;
use warnings;
use Authen::SASL;
use IO::Socket::SSL;
use JSON::PP;
use Net::SMTP;

my $given = decode_json($ARGV[0]);
my $mail = do { local $/; <STDIN> };
my %tls = (SSL_ca_file => $given->{ca_file}, SSL_verify_mode => SSL_VERIFY_PEER, SSL_verifycn_name => 'localhost');
%tls = (%tls, SSL_cert_file => $given->{certificate}, SSL_key_file => $given->{key}) if $given->{mechanism} eq 'EXTERNAL';
my $smtp = Net::SMTP->new(
    'localhost', Port => $given->{port}, Hello => 'client.example.test', Timeout => 20,
    $given->{security} eq 'implicit' ? (SSL => 1, %tls) : (),
) or die "connect: $@";

sub ok { my ($good, $what) = @_; die "$what: " . $smtp->message unless $good }

ok($smtp->starttls(%tls), 'starttls') if $given->{security} eq 'starttls';
if ($given->{mechanism}) {
    my %login = (user => $given->{user}, pass => $given->{password}, authname => $given->{mechanism} eq 'EXTERNAL' ? '' : $given->{user});
    ok($smtp->auth(Authen::SASL->new(mechanism => $given->{mechanism}, callback => \%login)), 'auth');
}
ok($smtp->mail($given->{sender}), 'mail');
ok($smtp->to($given->{to}), 'to');
ok($smtp->data($mail), 'data');
ok($smtp->quit, 'quit');
