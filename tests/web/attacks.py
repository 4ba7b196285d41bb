"""What an agent, or whoever speaks through it, may put anywhere."""

ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "[x](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "<svg onload=alert(1)>",
    "</textarea></title></style></script><b>",
    "{{ 7*7 }}{% raise %}",
    "\u202etxt.exe\u202c",
    "a\u0000b\u001b[31mc",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "&lt;b&gt;",
)
