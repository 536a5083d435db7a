internal import ImageFormats
package import SystemPackage

extension ModelChain {
    /// Writes a random chain of one to four files into `directory` and returns what it means.
    ///
    /// All layouts, odd sizes, single sectors and long runs, allocated zeros over data, bits over
    /// holes, data without bits, garbage behind paths. UML layouts stand over a file of their own
    /// size, as UML demands; QEMU layouts over shorter and longer ones, or none.
    package static func random(in directory: FilePath, using generator: inout SplitMix64) throws -> ModelChain
    {
        var chain = ModelChain(layers: [])
        let depth = Int.random(in: 1...4, using: &generator)
        let bottom = directory.appending("layer\(depth - 1)")
        chain.layers = [
            generator.chance(3, in: 4)
                ? try randomRaw(bottom, using: &generator)
                : try randomCow(bottom, over: nil, using: &generator)
        ]
        for level in (0..<depth - 1).reversed() {
            chain.layers.insert(
                try randomCow(directory.appending("layer\(level)"), over: chain.layers[0], using: &generator),
                at: 0)
        }
        return chain
    }

    private static func randomSize(using generator: inout SplitMix64) -> UInt64 {
        UInt64.random(in: 1...1000, using: &generator) * 512
            - (generator.chance(1, in: 3) ? UInt64.random(in: 0..<512, using: &generator) : 0)
    }

    /// Bytes of one sector: mostly its own, sometimes zeros that take their place on disk.
    private static func randomBytes(_ sector: UInt64, using generator: inout SplitMix64) -> [UInt8] {
        if generator.chance(1, in: 8) { return [UInt8](repeating: 0, count: 512) }
        return [UInt8(truncatingIfNeeded: sector)]
            + [UInt8](repeating: .random(in: 1...255, using: &generator), count: 511)
    }

    /// Runs of sectors below `count`: from single ones side by side to hundreds.
    private static func randomRuns(below count: UInt64, using generator: inout SplitMix64) -> [Range<UInt64>]
    {
        let longest = [1, 1, 9, 64, 400].randomElement(using: &generator) ?? 1
        let gap = [1, 9, 64, 400].randomElement(using: &generator) ?? 1
        var runs: [Range<UInt64>] = []
        var position = UInt64.random(in: 0...UInt64(gap), using: &generator)
        while position < count {
            let end = min(position + UInt64.random(in: 1...UInt64(longest), using: &generator), count)
            runs.append(position..<end)
            position = end + UInt64.random(in: 1...UInt64(gap), using: &generator)
        }
        return runs
    }

    private static func randomRaw(_ path: FilePath, using generator: inout SplitMix64) throws -> Layer {
        let size = randomSize(using: &generator)
        var layer = Layer(
            path: path, size: size, dataOffset: 0, held: nil, written: [:],
            description: "raw of \(size) bytes")
        for run in randomRuns(below: layer.sectorCount, using: &generator) {
            for sector in run { layer.written[sector] = randomBytes(sector, using: &generator) }
        }
        return try write(layer, length: size)
    }

    /// Writes a raw file; its last sector ends where the file does.
    private static func write(_ layer: Layer, length: UInt64) throws -> Layer {
        var layer = layer
        var file = SparseFile()
        for (sector, bytes) in layer.written.sorted(by: { $0.key < $1.key }) {
            let kept = Array(bytes.prefix(Int(min(512, length - sector * 512))))
            layer.written[sector] = kept
            file.put(kept, at: sector * 512)
        }
        try file.write(to: layer.path, length: length)
        return layer
    }

    private static func randomCow(_ path: FilePath, over backing: Layer?, using generator: inout SplitMix64)
        throws -> Layer
    {
        let qemu: [CowLayout] = [.qemuV2, .qemuV2Packed]
        let layout = (backing == nil ? qemu : CowLayout.allCases).randomElement(using: &generator) ?? .qemuV2
        let isUML = !qemu.contains(layout)
        let size = backing.map {
            isUML || generator.chance(1, in: 2) ? $0.size : randomSize(using: &generator)
        }
        let name = backing.map {
            isUML || generator.chance(1, in: 2) ? $0.path.string : $0.path.lastComponent?.string ?? ""
        }
        var image = CowImageBuilder(layout, backing: name ?? "", size: size ?? randomSize(using: &generator))
        image.isLittleEndian = layout == .umlV1 && generator.chance(1, in: 2)
        if !isUML, generator.chance(1, in: 3) { image.mtime = 0 }
        if isUML { image.alignment = 1 << UInt32.random(in: 0...14, using: &generator) }
        image.garbage = (0..<Int.random(in: 0...60, using: &generator)).map { _ in
            UInt8.random(in: 0...255, using: &generator)
        }
        for run in randomRuns(below: image.mappedSectorCount, using: &generator) {
            let isHole = generator.chance(1, in: 4)
            for sector in run {
                image.allocated[sector] = isHole ? .hole : .data(randomBytes(sector, using: &generator))
            }
        }
        for sector in 0..<image.sectorCount
        where image.allocated[sector] == nil && generator.chance(1, in: 50) {
            image.uncommitted[sector] = randomBytes(sector, using: &generator)
        }
        image.length = randomLength(of: image, using: &generator)
        try image.write(to: path)
        let length = image.fileLength
        var written: [UInt64: [UInt8]] = [:]
        for case (let sector, .data(let bytes)) in image.allocated {
            written[sector] = Array(bytes.prefix(Int(length - image.dataOffset - sector * 512)))
        }
        return Layer(
            path: path, size: image.size, dataOffset: image.dataOffset, held: Set(image.allocated.keys),
            written: written,
            description: "\(layout.rawValue) of \(image.size) bytes in \(length)")
    }

    /// A length that holds every allocated sector: the writer's habit, the shortest, or the
    /// longest. Never the disk's size, which would leave open what a UML overlay of the file means.
    private static func randomLength(of image: CowImageBuilder, using generator: inout SplitMix64) -> UInt64 {
        let shortest =
            image.allocated.keys.max().map {
                min(image.dataOffset + ($0 + 1) * 512, image.dataOffset + image.size)
            } ?? image.bitmapEnd
        let longest = image.dataOffset + image.sectorCount * 512
        let chosen = [image.fileLength, shortest, longest].randomElement(using: &generator) ?? longest
        return chosen == image.size ? longest : chosen
    }
}
