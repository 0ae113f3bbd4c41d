<?php
// A round trip with PHP's imap, which is the c-client of Pine; arguments: port, security, CA file (it takes none), user,
// password, mailbox (modified UTF-7), file. Behind STARTTLS it speaks TLS 1.0 alone, so implicit TLS it is.
[, $port, , , $user, $password, $name, $file] = $argv;
$server = "{localhost:$port/imap/ssl/novalidate-cert}";
$mail = file_get_contents($file);

function same($wanted, $found): void
{
    if ($wanted !== $found) {
        throw new Exception(var_export($found, true) . ' in place of ' . var_export($wanted, true) . "\n" . implode("\n", imap_errors() ?: []));
    }
}

$client = imap_open("{$server}INBOX", $user, $password, 0, 1);
same(true, imap_createmailbox($client, $server . $name));
same(["{$server}INBOX", $server . $name], imap_list($client, $server, '*'));
same(true, imap_append($client, "{$server}INBOX", $mail, '\\Flagged', '07-Feb-1994 21:52:25 -0800'));
same(true, imap_append($client, "{$server}INBOX", "Subject: Second\r\n\r\ntwo\r\n"));
same(2, imap_check($client)->Nmsgs);
same($mail, imap_fetchheader($client, 1) . imap_body($client, 1, FT_PEEK));
$structure = imap_fetchstructure($client, 1);
same(['MIXED', 'PLAIN', 'HTML'], [$structure->subtype, $structure->parts[0]->subtype, $structure->parts[1]->subtype]);
same('two.html', $structure->parts[1]->dparameters[0]->value);
same(true, str_starts_with(imap_fetchbody($client, 1, '2', FT_PEEK), '<p>xxx'));
[$overview] = imap_fetch_overview($client, '1');
same([760686745, 1, strlen($mail), 1, 0], [$overview->udate, $overview->uid, $overview->size, $overview->flagged, $overview->seen]);
same([[1], false], [imap_search($client, 'FLAGGED FROM "juergen"'), imap_search($client, 'SUBJECT "absent"')]);
same([2, 1], imap_sort($client, SORTARRIVAL, true));
same(true, imap_setflag_full($client, '1', '\\Seen \\Answered'));
same(true, imap_mail_move($client, '1', $name) && imap_expunge($client));
$status = imap_status($client, $server . $name, SA_ALL);
same([1, 0], [$status->messages, $status->unseen]);
same(true, imap_reopen($client, $server . $name));
same(1, imap_num_msg($client));
same(true, imap_delete($client, '1') && imap_expunge($client));
same(0, imap_num_msg($client));
same(true, imap_reopen($client, "{$server}INBOX"));
same(true, imap_deletemailbox($client, $server . $name));
same(false, imap_errors());
imap_close($client);
