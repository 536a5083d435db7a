extension Sequence<UInt8> {
    /// The bytes as a part of a URI: all but letters, digits, `-._~` (RFC 3986, "unreserved") and
    /// what is in `kept` as `%XX`.
    package func percentEncoded(keeping kept: String = "") -> String {
        map { byte in
            let character = Character(UnicodeScalar(byte))
            if character.isASCII,
                character.isLetter || character.isNumber || "-._~".contains(character)
                    || kept.contains(character)
            {
                return String(character)
            }
            return "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
        }.joined()
    }
}
