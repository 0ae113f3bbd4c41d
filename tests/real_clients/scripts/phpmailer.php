<?php
// Sends the body on standard input by PHPMailer; its only argument is JSON with port, security, ca_file, mechanism, ...
require '/usr/share/php/libphp-phpmailer/autoload.php';

use PHPMailer\PHPMailer\OAuthTokenProvider;
use PHPMailer\PHPMailer\PHPMailer;

class Token implements OAuthTokenProvider
{
    public function __construct(private array $given)
    {
    }

    public function getOauth64()
    {
        return base64_encode("user={$this->given['user']}\1auth=Bearer {$this->given['token']}\1\1");
    }
}

$given = json_decode($argv[1], true, 8, JSON_THROW_ON_ERROR);
$mail = new PHPMailer(true);
$mail->isSMTP();
[$mail->Host, $mail->Port, $mail->Hostname, $mail->Helo] = ['localhost', $given['port'], 'client.example.test', 'client.example.test'];
$mail->SMTPSecure = ['starttls' => PHPMailer::ENCRYPTION_STARTTLS, 'implicit' => PHPMailer::ENCRYPTION_SMTPS][$given['security']] ?? '';
$mail->SMTPAutoTLS = $given['security'] === 'opportunistic';
$mail->SMTPOptions = ['ssl' => ['cafile' => $given['ca_file']]];
if ($given['mechanism'] !== '') {
    [$mail->SMTPAuth, $mail->AuthType] = [true, $given['mechanism']];
    [$mail->Username, $mail->Password] = [$given['user'], $given['password']];
    $mail->setOAuth(new Token($given));
}
$mail->setFrom($given['sender']);
$mail->addAddress($given['to']);
$mail->Subject = 'hello';
$mail->Body = stream_get_contents(STDIN);
$mail->send();
