internal import CFuzzer
internal import FuzzTargets

/// libFuzzer's own mutations; of an archive, seven times in eight, within one of its records, whose
/// digests are made right again.
@_cdecl("LLVMFuzzerCustomMutator")
func mutate(_ data: UnsafeMutablePointer<UInt8>, _ size: Int, _ longest: Int, _ seed: UInt32) -> Int {
    guard Driver.target == .archive || Driver.target == .unpack, seed % 8 != 0,
        var surgery = ArchiveSurgery(Array(UnsafeBufferPointer(start: data, count: size)))
    else { return LLVMFuzzerMutate(data, size, longest) }
    let choice = Int(seed >> 3 & 0xfff)
    let place = Int(seed >> 15) % surgery.parts.count
    switch choice % 16 {
    case 0: surgery.parts.insert(surgery.parts[place], at: place)
    case 1: surgery.parts.swapAt(place, (place + 1) % surgery.parts.count)
    case 2 where surgery.parts.count > 1: surgery.parts.remove(at: place)
    case 3: surgery.parts[place].kind = Array("HRIT\0".utf8)[choice / 16 % 5]
    case 4, 5, 6: surgery.parts[place].frame = mutated(surgery.parts[place].frame)
    default: surgery.parts[place].body = mutated(surgery.parts[place].body)
    }
    let bytes = choice & 0x800 == 0 ? surgery.mendedWithIndex() : surgery.mended()
    guard bytes.count <= longest else { return LLVMFuzzerMutate(data, size, longest) }
    _ = UnsafeMutableBufferPointer(start: data, count: bytes.count).update(fromContentsOf: bytes)
    return bytes.count
}

private func mutated(_ bytes: [UInt8]) -> [UInt8] {
    let room = bytes.count + 256
    return [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
        _ = buffer.update(fromContentsOf: bytes)
        count = LLVMFuzzerMutate(buffer.baseAddress, bytes.count, room)
    }
}
